"""Images are divided by shares: the same each time, classes alike, and what belongs together stays together."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_data.audit import Finding
from fer_data.class_maps import class_map
from fer_data.dataset import PreparedDataset
from fer_data.division import Division, assigned
from fer_data.drawing import draw
from fer_data.emotions import CLASSES
from fer_data.errors import UserError
from fer_data.prepare import prepare
from tests.fer_data.near_copies.transforms import moved
from tests.fer_data.raw_forms import csv_row, faces, png, read, tar_gz, write, zipped

TENTHS = Division((0.8, 0.1, 0.1))


def usages(dataset: PreparedDataset) -> dict[str, str]:
    """The usage of each image."""
    groups = [group for usage in dataset.manifest.counts for group in dataset.row_groups(usage)]
    tables = [dataset.read(group, ("image_id", "usage")) for group in groups]
    return {row["image_id"]: row["usage"] for table in tables for row in table.to_pylist()}


def hashes(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).permutation(count).astype(np.uint64)


def people(per_class: int = 10, images: np.ndarray | None = None) -> dict[str, bytes]:
    """Class folders as CK+48 has them, without train and test: seven pictures of each of `per_class` people."""
    images = faces(7 * per_class) if images is None else images
    return {f"ck/{CLASSES[i % 7]}/S{i // 7:03d}_{i % 7:03d}_00000001.png": png(image) for i, image in enumerate(images)}


@given(
    st.lists(st.tuples(st.integers(0, 6), st.integers(0, 8)), min_size=120, max_size=200),
    st.integers(0, 3),
    st.randoms(use_true_random=False),
)
@settings(deadline=None, max_examples=50)
def test_what_belongs_together_stays_together_and_order_makes_no_difference(rows, seed, random):
    labels = np.array([label for label, _ in rows])
    names = hashes(len(rows))
    people = np.array([f"person {person}" if person else f"alone {i}" for i, (_, person) in enumerate(rows)])
    order = np.array(random.sample(range(len(rows)), len(rows)))
    division = Division((0.5, 0.3, 0.2), seed)
    try:
        usage = assigned(labels, [names, people], division)
    except UserError:
        return
    assert len({(person, chosen) for person, chosen in zip(people, usage, strict=True)}) == len(set(people))
    assert np.array_equal(assigned(labels[order], [names[order], people[order]], division), usage[order])


def test_the_classes_are_shared_out_alike():
    labels = np.random.default_rng(0).choice(7, 10_000, p=[0.14, 0.02, 0.14, 0.25, 0.17, 0.11, 0.17])
    usage = assigned(labels, [hashes(len(labels))], TENTHS)
    for label in range(7):
        shares = np.bincount(usage[labels == label], minlength=3) / (labels == label).sum()
        assert np.abs(shares - TENTHS.shares).max() < 0.01


def test_groups_are_shared_out_to_the_image_where_they_can_be():
    """981 images of 123 people, as in CK+: the shares are met within one image in a hundred."""
    dice = np.random.default_rng(1)
    usage = assigned(dice.choice(7, 981), [hashes(981), dice.integers(0, 123, 981)], TENTHS)
    assert np.abs(np.bincount(usage) / 981 - TENTHS.shares).max() < 0.01


def test_another_seed_divides_in_another_way():
    labels = np.zeros(500, int)
    first, same, other = (assigned(labels, [hashes(500)], Division((0.5, 0.5), seed)) for seed in (0, 0, 1))
    assert np.array_equal(first, same)
    assert 0.3 < (first == other).mean() < 0.7


def test_a_share_that_would_stay_empty_is_refused():
    with pytest.raises(UserError, match=r"--split-shares 0.8 0.1 0.1 leaves public_test without an image.* 2 sets"):
        assigned(np.zeros(40, int), [hashes(40), np.arange(40) % 2], TENTHS)


@pytest.mark.parametrize("shares", [(0.5,), (0.8, 0.1), (0.8, 0.3), (1.0, 0.0), (1.2, -0.2), (0.4, 0.3, 0.2, 0.1)])
def test_shares_that_are_none_are_refused(shares):
    with pytest.raises(ValueError, match="two or three numbers above 0 that sum to 1"):
        Division(shares)


# ---- data sets


@pytest.mark.parametrize("form", ["ck", "ck.zip", "ck.tar.gz"])
def test_class_folders_alone_are_divided_alike_in_every_form(form, tmp_path):
    pack = {"ck": lambda files: files, "ck.zip": zipped, "ck.tar.gz": tar_gz}[form]
    # Another order of the files, and thereby of the work, changes nothing.
    files = people()
    backwards = dict(reversed(files.items()))
    expected = prepare(write(tmp_path / "a", files), str(tmp_path / "out a"), division=TENTHS)
    found = prepare(write(tmp_path / form, pack(backwards)), str(tmp_path / "out b"), division=TENTHS)
    assert found.manifest.fingerprint == expected.manifest.fingerprint
    assert [found.manifest.rows(usage) for usage in ("training", "public_test", "private_test")] == [56, 7, 7]
    assert found.manifest.counts["public_test"] == dict.fromkeys(CLASSES, 1)


def test_the_images_of_a_person_stay_together(tmp_path):
    raw = write(tmp_path / "raw", people(20))
    for pattern in (r"S\d+", r"^(S\d+)_\d+_", r"ck/\w+/(S\d+)"):
        dataset = prepare(raw, str(tmp_path / "out"), division=Division((0.6, 0.4), 0, pattern), overwrite=True)
        chosen = {(image_id[:4], usage) for image_id, usage in usages(dataset).items()}
        assert len(chosen) == 20
        assert dataset.manifest.rows("training") == 84


def test_a_name_in_which_no_person_is_found_is_refused_with_the_mend(tmp_path):
    raw = write(
        tmp_path / "raw", {**people(), "ck/sad/other.png": png(faces(1, 9)[0]), "ck/sad/notes.txt": b"no image"}
    )
    with pytest.raises(UserError, match=r"ck/sad/other.png does not match --group-by 'S\\d\+'.*'\|\.\+'"):
        prepare(raw, str(tmp_path / "out"), division=Division((0.5, 0.5), 0, r"S\d+"))
    assert prepare(raw, str(tmp_path / "out"), division=Division((0.5, 0.5), 0, r"S\d+|.+")).manifest.rejected == 1


def test_exact_copies_stay_together(tmp_path):
    images = np.repeat(faces(20), 5, axis=0)
    files = {f"{CLASSES[i % 7]}/{i}.png": png(image) for i, image in enumerate(images)}
    dataset = prepare(write(tmp_path / "raw", files), str(tmp_path / "out"), division=Division((0.5, 0.25, 0.25)))
    assert Finding("redundant copies", "all", 80) in dataset.manifest.audit
    assert all(finding.count == 0 for finding in dataset.manifest.audit if finding.check.startswith("also in"))


def test_near_copies_stay_together_where_they_are_looked_for(tmp_path):
    originals = draw(np.arange(40), 3)[0].reshape(-1, 48, 48)
    images = [*originals, *(moved(image, right=5, mirrored=True) for image in originals)]
    files = {f"{CLASSES[i % 7]}/{i}.png": png(image) for i, image in enumerate(images)}
    raw, division = write(tmp_path / "raw", files), Division((0.5, 0.25, 0.25))
    found = prepare(raw, str(tmp_path / "found"), division=division)
    counts = {(finding.check, finding.usage): finding.count for finding in found.manifest.audit}
    assert counts["repeated photographs", "all"] >= 35
    assert [counts["photograph in training", usage] for usage in ("public_test", "private_test")] == [0, 0]
    assert counts["photograph in public_test", "private_test"] == 0
    # What is in the data set is what a search in the data set itself finds.
    pairs = found.near_copies().select(["image_id", "partner"]).to_pylist()
    chosen = usages(found)
    assert all(chosen[pair["image_id"]] == chosen[pair["partner"]] for pair in pairs)
    assert all(abs(int(pair["image_id"]) - int(pair["partner"])) == 40 for pair in pairs)
    order = [image_id for image_id in chosen if image_id in {pair["image_id"] for pair in pairs}]
    assert [pair["image_id"] for pair in pairs] == order
    alone = prepare(raw, str(tmp_path / "alone"), division=division, near_copies="off")
    assert alone.near_copies() is None


def test_a_csv_without_the_column_usage_is_divided(tmp_path):
    rows = [csv_row(" ".join([str(i)] * 2304), str(i % 7)).rpartition(",")[0] for i in range(70)]
    raw = write(tmp_path / "train.csv", "\n".join(["emotion,pixels", *rows]).encode())
    assert prepare(raw, str(tmp_path / "a")).manifest.counts.keys() == {"training"}
    divided = prepare(raw, str(tmp_path / "b"), division=TENTHS).manifest
    assert [divided.rows(usage) for usage in divided.counts] == [56, 7, 7]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("train/sad/a.png", "train/sad/a.png is training already by its name or folder: leave --split-shares out"),
        ("sad/PublicTest_1.png", "sad/PublicTest_1.png is public_test already"),
    ],
)
def test_images_that_are_divided_already_are_not_divided_again(path, message, tmp_path):
    with pytest.raises(UserError, match=message):
        prepare(write(tmp_path / "raw", {path: png(faces(1)[0])}), str(tmp_path / "out"), division=TENTHS)


def test_a_csv_that_is_divided_already_or_names_no_files_is_told_so(tmp_path):
    raw = write(tmp_path / "raw.csv", f"emotion,pixels,Usage\n{csv_row()}".encode())
    with pytest.raises(UserError, match=r"raw\.csv has the column Usage.*leave --split-shares out"):
        prepare(raw, str(tmp_path / "out"), division=TENTHS)
    with pytest.raises(UserError, match=r"raw\.csv: --group-by goes by the names of files"):
        prepare(raw, str(tmp_path / "out"), division=Division((0.5, 0.5), 0, "x"))


def test_the_train_folder_by_itself_may_be_divided(tmp_path):
    write(tmp_path / "raw", {f"train/{path}": content for path, content in people().items()})
    dataset = prepare(str(tmp_path / "raw" / "train"), str(tmp_path / "out"), division=Division((0.9, 0.1)))
    assert dataset.manifest.rows("training") == 63


def test_too_many_bad_images_stop_a_division_and_leave_nothing(tmp_path):
    files = {**people(), "ck/sad/S001_bad.png": b"torn"}
    raw = write(tmp_path / "raw", files)
    with pytest.raises(UserError, match="1 of 71 rows are unusable"):
        prepare(raw, str(tmp_path / "out"), division=TENTHS)
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]
    dataset = prepare(raw, str(tmp_path / "out"), division=TENTHS, max_rejected=0.1)
    assert dataset.manifest.rejected == 1


# ---- names of classes


def test_numbered_folders_are_read_with_the_map_of_their_data_set(tmp_path):
    files = {f"train/{number}/{number}.png": png(face) for number, face in zip(range(1, 8), faces(7), strict=True)}
    rows, _ = read(write(tmp_path / "raf", files), classes=class_map("raf-db"))
    assert {row["image_id"]: CLASSES[row["label"]] for row in rows} == {
        "1": "surprise",
        "2": "fear",
        "3": "disgust",
        "4": "happy",
        "5": "sad",
        "6": "angry",
        "7": "neutral",
    }


def test_jaffe_is_read_as_it_is_published(tmp_path):
    """TIFF images of 256 by 256 pixels in one folder; the file's name says the person and the class."""
    pictures = [face.repeat(4, 0).repeat(4, 1) for face in faces(70)]
    codes = ("AN", "DI", "FE", "HA", "SA", "SU", "NE")
    files = {
        f"jaffe/{'ABCDEFGHIJ'[i // 7]}M.{codes[i % 7]}1.{i}.tiff": cv2.imencode(".tiff", picture)[1].tobytes()
        for i, picture in enumerate(pictures)
    }
    raw = write(tmp_path / "jaffe.zip", zipped({**files, "jaffe/README_FIRST.txt": b"read me"}))
    division = Division((0.8, 0.1, 0.1), 0, r"^[A-Z]{2}(?=\.)")
    dataset = prepare(raw, str(tmp_path / "out"), resize=True, classes=class_map("jaffe"), division=division)
    assert dataset.manifest.counts == {
        usage: dict.fromkeys(CLASSES, people)
        for usage, people in (("training", 8), ("public_test", 1), ("private_test", 1))
    }
    assert dataset.manifest.rejected == 1
    for group in dataset.row_groups("training"):
        for row in dataset.read(group, ("image_id", "label", "pixels")).to_pylist():
            number = int(row["image_id"].rpartition(".")[2])
            assert (row["label"], row["pixels"]) == (number % 7, faces(70)[number].tobytes())


def test_affectnet_is_read_as_it_is_published(tmp_path):
    files = {
        f"{part}_set/{i % 8}/{part}{i}.jpg": png(face) for part in ("train", "val") for i, face in enumerate(faces(16))
    }
    dataset = prepare(write(tmp_path / "raw", files), str(tmp_path / "out"), classes=class_map("affectnet"))
    assert dataset.manifest.counts == {usage: dict.fromkeys(CLASSES, 2) for usage in ("training", "public_test")}
    assert dataset.manifest.rejected == 4  # Contempt.


def test_ignored_classes_are_left_out_with_the_reason_and_not_counted_as_damage(tmp_path):
    raw = write(tmp_path / "raw", {**people(), "ck/contempt/a.png": b"not even read", "ck/contempt/b.png": b""})
    with pytest.raises(UserError, match=r"unknown class folder 'contempt'.*--class-map.*--ignore-class"):
        prepare(raw, str(tmp_path / "out"), division=TENTHS)
    dataset = prepare(raw, str(tmp_path / "out"), division=TENTHS, classes=class_map(None, ["contempt"]))
    assert dataset.manifest.rejected == 2
    assert sum(dataset.manifest.rows(usage) for usage in dataset.manifest.counts) == 70


def test_the_numbers_of_a_csv_go_through_the_map_too(tmp_path):
    rows = [csv_row(emotion=str(number)) for number in (0, 1, 7, 8)]
    raw = write(tmp_path / "x.csv", "\n".join(["emotion,pixels,Usage", *rows]).encode())
    found, rejected = read(raw, classes=class_map("affectnet"))
    assert [CLASSES[row["label"]] for row in found] == ["neutral", "happy"]
    assert rejected == []
    found, rejected = read(raw, classes=class_map(None, ["7", "disgust"]))
    assert [CLASSES[row["label"]] for row in found] == ["angry"]
    assert rejected == [("training-00000004", "emotion is '8', not 0 to 6")]
