"""Preparing: the same bytes from any place, cached by content, whole or not at all."""

from pathlib import Path

import numpy as np
import pytest

from fer_data.dataset import PreparedDataset
from fer_data.errors import UserError
from fer_data.prepare import cache_folder, open_or_prepare, prepare, rejected_reasons
from tests.fer_data.raw_forms import HEADER, content, csv, csv_row, faces, png, read, tree, write, zipped


def files(folder: str | Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def rows_of(dataset: PreparedDataset) -> list[dict]:
    groups = [group for usage in dataset.manifest.counts for group in dataset.row_groups(usage)]
    columns = ("image_id", "usage", "label", "pixels")
    return [row for group in groups for row in dataset.read(group, columns).to_pylist()]


def test_a_prepared_data_set_holds_the_rows_of_its_source(tmp_path):
    raw = write(tmp_path / "raw.zip", zipped(tree(10)))
    dataset = prepare(raw, str(tmp_path / "out"))
    assert content(rows_of(dataset)) == content(read(raw)[0])
    assert dataset.manifest.source == "raw.zip"
    assert {usage: dataset.manifest.rows(usage) for usage in dataset.manifest.counts} == {
        "training": 6,
        "public_test": 2,
        "private_test": 2,
    }


def test_a_tree_and_its_zip_prepare_alike(tmp_path):
    a = prepare(write(tmp_path / "raw", tree(10)), str(tmp_path / "a"))
    b = prepare(write(tmp_path / "raw.zip", zipped(tree(10))), str(tmp_path / "b"))
    assert a.manifest.fingerprint == b.manifest.fingerprint


def test_too_many_rejected_rows_stop_the_job_and_leave_nothing(tmp_path):
    lines = [HEADER, *[csv_row()] * 98, csv_row("1 2 3"), csv_row("1 x")]
    raw = write(tmp_path / "raw.csv", "\n".join(lines).encode())
    with pytest.raises(UserError, match=r"raw\.csv: 2 of 100 rows are unusable.*training-00000099, has 3 pixels"):
        prepare(raw, str(tmp_path / "out"))
    assert [path.name for path in tmp_path.iterdir()] == ["raw.csv"]
    dataset = prepare(raw, str(tmp_path / "out"), max_rejected=0.02)
    assert dataset.manifest.rejected == 2
    assert sorted(rejected_reasons(dataset)) == [
        ("has 3 pixels, not 2,304", 1),
        ("pixels are not numbers between spaces", 1),
    ]


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan")])
def test_a_fraction_out_of_range_is_refused(fraction, tmp_path):
    with pytest.raises(UserError, match="from 0 to 1"):
        prepare(write(tmp_path / "raw.csv", csv()), str(tmp_path / "out"), max_rejected=fraction)


def test_a_prepared_folder_is_not_prepared_again(tmp_path):
    prepare(write(tmp_path / "raw.csv", csv()), str(tmp_path / "a"))
    with pytest.raises(UserError, match="prepared data set already"):
        prepare(str(tmp_path / "a"), str(tmp_path / "b"))


# ---- the cache


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return cache_folder()


def test_a_prepared_folder_is_opened_where_it_is(tmp_path, cache):
    dataset = prepare(write(tmp_path / "raw.csv", csv()), str(tmp_path / "out"))
    assert open_or_prepare(str(tmp_path / "out")) == dataset
    assert not cache.exists()


@pytest.mark.parametrize("form", ["raw.csv", "raw.zip", "raw"])
def test_a_raw_form_is_prepared_on_first_use_only(form, tmp_path, cache):
    raw = write(tmp_path / form, {"raw.csv": csv(), "raw.zip": zipped(tree()), "raw": tree()}[form])
    first = open_or_prepare(raw)
    written = (Path(first.uri) / "manifest.json").stat().st_mtime_ns
    assert open_or_prepare(raw) == first
    assert (Path(first.uri) / "manifest.json").stat().st_mtime_ns == written
    assert Path(first.uri).parent == cache
    assert len(list(cache.iterdir())) == 1


def test_the_cache_is_keyed_by_content_not_by_name(tmp_path, cache):
    first = open_or_prepare(write(tmp_path / "raw.csv", csv(seed=1)))
    assert open_or_prepare(write(tmp_path / "copy.csv", csv(seed=1))).uri == first.uri
    assert open_or_prepare(write(tmp_path / "raw.csv", csv(seed=2))).uri != first.uri
    assert open_or_prepare(str(tmp_path / "copy.csv"), resize=True).uri != first.uri


def test_a_damaged_copy_in_the_cache_is_made_anew(tmp_path, cache):
    raw = write(tmp_path / "raw.csv", csv())
    first = open_or_prepare(raw)
    (Path(first.uri) / "part-training-00000.parquet").write_bytes(b"")
    assert open_or_prepare(raw) == first


def test_a_job_that_loses_the_race_for_the_cache_uses_what_the_winner_made(tmp_path, cache, monkeypatch):
    raw = write(tmp_path / "raw.csv", csv())
    winner = open_or_prepare(raw)
    kept = files(winner.uri)
    import fer_data.prepare

    looked = iter([False, False])
    real = fer_data.prepare.is_prepared
    monkeypatch.setattr(fer_data.prepare, "is_prepared", lambda uri: next(looked, None) or real(uri))
    assert open_or_prepare(raw) == winner
    assert files(winner.uri) == kept


def test_a_damaged_prepared_folder_is_not_taken_for_a_raw_one(tmp_path, cache):
    prepare(write(tmp_path / "raw.csv", csv()), str(tmp_path / "out"))
    (tmp_path / "out" / "manifest.json").unlink()
    with pytest.raises(UserError, match=r"no manifest\.json"):
        open_or_prepare(str(tmp_path / "out"))


@pytest.mark.parametrize("path", ["", "missing", "missing.zip"])
def test_a_path_to_nothing_is_named(path, tmp_path, cache, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="path is empty" if not path else f"{path} does not exist"):
        open_or_prepare(path)


def test_faces_of_other_sizes_and_class_names_prepare_with_resize(tmp_path):
    files_ = {
        f"train/happiness/{i}.png": png(np.kron(face, np.ones((2, 3), np.uint8))) for i, face in enumerate(faces(3))
    }
    raw = write(tmp_path / "raw", files_)
    with pytest.raises(UserError, match="is 144x96, not 48x48"):
        prepare(raw, str(tmp_path / "out"))
    assert prepare(raw, str(tmp_path / "out"), resize=True).manifest.counts["training"]["happy"] == 3
