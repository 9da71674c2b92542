"""Archives that are truncated, damaged, unsafe or bombs are refused in one line."""

import gzip
import io
import stat
import tarfile
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_data import archives
from fer_data.errors import UserError
from fer_data.unpacked import Unpacked
from tests.fer_data.raw_forms import (
    complaint,
    csv,
    faces,
    png,
    read,
    tar_gz,
    tree,
    write,
    zipped,
)

ARCHIVES = {
    "tree.zip": zipped(tree(3)),
    "csv.zip": zipped({"a.csv": csv(3)}),
    "csv.tar.gz": tar_gz({"a.csv": csv(3)}),
    "tree.tar.gz": tar_gz(tree(3)),
    "csv.gz": gzip.compress(csv(3)),
}


@pytest.mark.parametrize("name", ARCHIVES)
@given(part=st.floats(0, 1, exclude_max=True))
@settings(deadline=None, max_examples=60)
def test_an_archive_truncated_at_any_byte_is_refused(name, tmp_path_factory, part):
    whole = ARCHIVES[name]
    path = tmp_path_factory.mktemp("cut") / name
    path.write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(UserError) as error:
        read(str(path))
    assert name in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ARCHIVES)
@given(position=st.floats(0, 1, exclude_max=True), change=st.integers(1, 255), from_end=st.booleans())
@settings(deadline=None, max_examples=60)
def test_an_archive_with_any_byte_changed_never_gives_a_traceback(name, tmp_path_factory, position, change, from_end):
    data = bytearray(ARCHIVES[name])
    data[-1 - int(position * min(400, len(data))) if from_end else int(position * len(data))] ^= change
    path = tmp_path_factory.mktemp("bent") / name
    path.write_bytes(bytes(data))
    assert "\n" not in complaint(str(path))


@pytest.mark.parametrize("evil", ["/etc/x.png", "train/../../x.png", "C:\\x.png", "train\\..\\..\\x.png"])
@pytest.mark.parametrize("form", ["zip", "tar.gz"])
def test_a_member_outside_the_archive_is_refused(evil, form, tmp_path):
    files = {"a.csv": csv(3), evil: b"x"}
    with pytest.raises(UserError, match="not safe"):
        read(write(tmp_path / f"x.{form}", zipped(files) if form == "zip" else tar_gz(files)))


def test_a_link_in_a_zip_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        link = zipfile.ZipInfo("train/sad/a.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(UserError, match="is a link"):
        read(str(tmp_path / "x.zip"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE])
def test_a_link_or_device_in_a_tar_is_refused(kind, tmp_path):
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as archive:
        text = csv(3)
        plain = tarfile.TarInfo("a.csv")
        plain.size = len(text)
        archive.addfile(plain, io.BytesIO(text))
        odd = tarfile.TarInfo("b.csv")
        odd.type, odd.linkname = kind, "/etc/passwd"
        archive.addfile(odd)
    with pytest.raises(UserError, match=r"is a link|not a plain file"):
        read(str(tmp_path / "x.tar.gz"))


@pytest.mark.parametrize("form", ["zip", "tar.gz"])
def test_an_image_larger_than_any_face_is_refused(form, tmp_path):
    files = {"train/sad/a.png": png(faces(1)[0]) + bytes(archives.MAX_IMAGE_BYTES)}
    with pytest.raises(UserError, match="no image here is that large"):
        read(write(tmp_path / f"x.{form}", zipped(files) if form == "zip" else tar_gz(files)))


@pytest.mark.parametrize("form", ["zip", "tar.gz", "csv.gz"])
def test_an_archive_that_expands_beyond_proportion_is_refused(form, tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "ALWAYS_ALLOWED", 2**20)
    zeros = bytes(20 * 2**20)
    files = {"a.csv": csv(3), "zeros.bin": zeros}
    pack = {"zip": zipped, "tar.gz": tar_gz, "csv.gz": lambda _: gzip.compress(csv(3) + zeros)}[form]
    with pytest.raises(UserError, match="would expand"):
        read(write(tmp_path / f"x.{form}", pack(files)))


def test_what_is_no_image_in_a_tar_takes_no_room_on_the_disk(tmp_path):
    files = {"train/sad/a.png": png(faces(1)[0]), "train/sad/zeros.png": bytes(50 * 2**20)}
    unpacked = Unpacked(write(tmp_path / "x.tar.gz", tar_gz(files)), lambda path, head: False)
    assert sum(len(data) for data in unpacked.reader(list(files)).files.values()) < 10_000


def test_a_zip_that_lies_about_a_members_size_is_held_to_it(tmp_path):
    data = bytearray(zipped({"train/sad/a.png": png(faces(1)[0])}))
    central = data.index(b"PK\x01\x02")
    data[central + 24 : central + 28] = (10).to_bytes(4, "little")
    rows, rejected = read(write(tmp_path / "x.zip", bytes(data)))
    assert rows == []
    assert "damaged in the archive" in rejected[0][1]


def test_a_zip_with_a_password_is_refused(tmp_path):
    data = bytearray(zipped(tree(1)))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + offset] |= 1
    with pytest.raises(UserError, match="encrypted"):
        read(write(tmp_path / "x.zip", bytes(data)))


@pytest.mark.parametrize("form", ["zip", "tar.gz"])
def test_two_data_sets_in_an_archive_are_one_too_many(form, tmp_path):
    files = {"a.csv": csv(3), "b.csv": csv(3)}
    with pytest.raises(UserError, match="give one"):
        read(write(tmp_path / f"x.{form}", zipped(files) if form == "zip" else tar_gz(files)))
