"""A path or URI means the same everywhere, and never shows what it should not."""

from pathlib import Path

import pytest
from pyarrow import fs

from fer_data.errors import UserError
from fer_data.storage import UNFINISHED, absolute, is_vacant, join, printable, redacted, reported, resolve, write_file


def test_local_paths_become_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/someone")
    assert absolute("a/../b") == str(tmp_path / "b")
    assert absolute(Path("b")) == str(tmp_path / "b")
    assert absolute("~/b") == "/home/someone/b"
    assert absolute("file:///data/a%20b") == "/data/a b"


def test_an_object_stores_path_is_bucket_and_key(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    filesystem, path = resolve("s3://bucket/some folder/a#1/")
    assert isinstance(filesystem, fs.S3FileSystem)
    assert path == "bucket/some folder/a#1"
    assert join("s3://bucket/data/", "part", "0") == "s3://bucket/data/part/0"


def test_an_endpoint_set_later_is_used(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    first, _ = resolve("s3://bucket/a")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:10")
    assert resolve("s3://bucket/a")[0] is not first


@pytest.mark.parametrize("uri", ["", " ", "a\0b", "s3://", "ftp://host/a", "s3://bucket/a?region=eu-west-1"])
def test_what_names_no_place_is_refused(uri):
    with pytest.raises(UserError):
        resolve(uri)


def test_credentials_and_control_characters_do_not_reach_messages():
    assert redacted("s3://key:secret@bucket/a?token=t") == "s3://bucket/a"
    assert redacted("a\nb") == r"a\nb"
    assert printable("né\udcff") == r"né\udcff"


def test_a_failure_names_the_place_and_fits_a_line():
    with (
        pytest.raises(UserError, match="cannot write s3://bucket/a: full disk") as error,
        reported("s3://bucket/a", "write"),
    ):
        raise OSError("full\ndisk")
    assert isinstance(error.value.__cause__, OSError)


def test_a_folder_is_vacant_until_something_in_it_is_finished(tmp_path):
    folder = tmp_path / "run"
    assert is_vacant(str(folder))
    folder.mkdir()
    assert is_vacant(str(folder))
    (folder / f"{UNFINISHED}config.json").touch()
    assert is_vacant(str(folder))
    write_file(str(folder / "config.json"), b"{}")
    assert not is_vacant(str(folder))
    assert not is_vacant(str(folder / "config.json"))
