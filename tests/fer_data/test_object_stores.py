"""Raw forms and prepared data sets in S3 are as they are on the disk: against a real server process."""

import gc
from pathlib import Path

import pytest
from pyarrow import fs

from fer_data.dataset import PreparedDataset, open_dataset
from fer_data.division import Division
from fer_data.errors import UserError
from fer_data.prepare import open_or_prepare, prepare
from fer_data.splits import split
from fer_data.storage import resolve
from tests.fer_data.raw_forms import HEADER, csv, csv_row, tar_gz, tree, write, zipped


def files(folder: str | Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def rows_of(dataset: PreparedDataset) -> list[dict]:
    groups = [group for usage in dataset.manifest.counts for group in dataset.row_groups(usage)]
    columns = ("image_id", "usage", "label", "pixels")
    return [row for group in groups for row in dataset.read(group, columns).to_pylist()]


def _upload(uri: str, files_: dict[str, bytes]) -> None:
    filesystem, path = resolve(uri)
    for name, data in files_.items():
        with filesystem.open_output_stream(f"{path}/{name}", compression=None) as stream:
            stream.write(data)


@pytest.mark.parametrize("form", ["folders", "folders.tar.gz"])
def test_class_folders_are_divided_in_s3_as_on_the_disk(form, bucket, tmp_path):
    raw = {f"{path.split('/')[1]}/{i}.png": image for i, (path, image) in enumerate(tree(40).items())}
    _upload(f"{bucket}/folders" if form == "folders" else bucket, raw if form == "folders" else {form: tar_gz(raw)})
    division = Division((0.8, 0.2), 0, r"\d")
    here = prepare(write(tmp_path / "raw", raw), str(tmp_path / "here"), division=division)
    there = prepare(f"{bucket}/{form}", str(tmp_path / "there"), division=division)
    assert here.manifest.fingerprint == there.manifest.fingerprint
    assert sum(there.manifest.rows(usage) for usage in there.manifest.counts) == 40


@pytest.mark.parametrize("form", ["tree", "tree.zip", "csv.csv", "csv.zip", "csv.tar.gz"])
def test_every_form_prepares_from_s3_as_from_the_disk(form, bucket, tmp_path):
    forms = {"tree.zip": zipped(tree()), "csv.csv": csv(), "csv.zip": zipped({"a.csv": csv()})}
    raw = tree() if form == "tree" else {**forms, "csv.tar.gz": tar_gz({"a.csv": csv()})}[form]
    _upload(f"{bucket}/tree" if form == "tree" else bucket, raw if isinstance(raw, dict) else {form: raw})
    here = prepare(write(tmp_path / form, raw), str(tmp_path / "here"))
    there = prepare(f"{bucket}/{form}", str(tmp_path / "there"))
    assert files(here.uri) == files(there.uri)


def test_a_data_set_is_written_to_s3_opened_and_read_there(bucket, tmp_path):
    raw = write(tmp_path / "raw.csv", csv())
    here = prepare(raw, str(tmp_path / "here"))
    there = prepare(raw, f"{bucket}/data/fer2013")
    assert there.uri == f"{bucket}/data/fer2013"
    assert there.manifest == here.manifest
    assert rows_of(there) == rows_of(here)
    assert open_or_prepare(there.uri) == there
    assert split(there, "validation").num_rows == 2


def test_a_data_set_in_s3_is_replaced_only_when_asked(bucket, tmp_path):
    raw, out = write(tmp_path / "raw.csv", csv()), f"{bucket}/out"
    prepare(raw, out)
    with pytest.raises(UserError, match="exists already"):
        prepare(raw, out)
    other = write(tmp_path / "other.csv", csv(3))
    assert prepare(other, out, overwrite=True).manifest.rows("training") == 3
    assert open_dataset(out).manifest.counts.keys() == {"training"}


def test_a_failed_write_to_s3_leaves_no_data_set(bucket, tmp_path):
    raw = write(tmp_path / "raw.csv", "\n".join([HEADER, *[csv_row()] * 2000, csv_row(usage="x")]).encode())
    with pytest.raises(UserError, match="row 2001"):
        prepare(raw, f"{bucket}/out")
    filesystem, path = resolve(bucket)
    gc.collect()  # whatever still held a file open
    left = filesystem.get_file_info(fs.FileSelector(path, recursive=True))
    assert [info.path for info in left if info.type == fs.FileType.File] == []


def test_a_missing_bucket_is_one_clear_line(bucket, tmp_path):
    with pytest.raises(UserError, match="s3://no-such-bucket-here") as error:
        open_dataset("s3://no-such-bucket-here/data")
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="s3://no-such-bucket-here"):
        prepare(write(tmp_path / "raw.csv", csv()), "s3://no-such-bucket-here/data")
