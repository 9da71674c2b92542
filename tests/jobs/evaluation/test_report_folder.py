"""A report is there whole or not at all."""

import pyarrow as pa
import pytest

from fer_data.errors import UserError
from fer_data.manifest import RowGroup
from fer_data.storage import exists, write_file
from jobs.evaluation.report_folder import RUN_FILE, ReportFolder
from jobs.evaluation.scoring.shards import Shard
from tests.flaky_storage import behind

SHARD = Shard(0, RowGroup("part-test-00000.parquet", 0, 3, "test"), 3, {"test": None})
TABLE = pa.table({"row": [0, 1, 2]})


def finish(folder: ReportFolder) -> None:
    folder.keep(SHARD, TABLE, TABLE.slice(0, 0))
    folder.write(RUN_FILE, b'{"checkpoints": []}')
    folder.publish([SHARD])


def test_the_folder_appears_when_it_is_complete(tmp_path):
    target = tmp_path / "report"
    with ReportFolder(str(target), "a", overwrite=False) as folder:
        folder.keep(SHARD, TABLE, TABLE)
        assert not target.exists()
        finish(folder)
    assert sorted(path.name for path in target.iterdir()) == ["predictions", RUN_FILE]
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


def test_what_was_scored_is_found_again_by_the_same_request_alone(tmp_path):
    target = str(tmp_path / "report")
    with ReportFolder(target, "a", overwrite=False) as folder:
        folder.keep(SHARD, TABLE, TABLE.slice(0, 0))
    with ReportFolder(target, "a", overwrite=False) as folder:
        assert folder.has(SHARD, 1, corruptions=False)
        assert not folder.has(SHARD, 2, corruptions=False)
        assert not folder.has(SHARD, 1, corruptions=True)
    with ReportFolder(target, "b", overwrite=False) as folder:
        assert not folder.has(SHARD, 1, corruptions=False)


def test_a_truncated_file_is_scored_again(tmp_path):
    with ReportFolder(str(tmp_path / "report"), "a", overwrite=False) as folder:
        folder.keep(SHARD, TABLE, TABLE.slice(0, 0))
        path = folder.path("predictions", SHARD)
        path.write_bytes(path.read_bytes()[:-9])
        assert not folder.has(SHARD, 1, corruptions=False)


def test_a_link_in_place_of_the_lock_is_not_followed(tmp_path):
    victim, unfinished = tmp_path / "victim", tmp_path / ".report.unfinished-a"
    victim.write_text("mine")
    unfinished.mkdir()
    (unfinished / ".lock").symlink_to(victim)
    with pytest.raises(UserError, match="cannot write the report"):
        ReportFolder(str(tmp_path / "report"), "a", overwrite=False)
    with ReportFolder(str(tmp_path / "report"), "b", overwrite=False) as folder:
        finish(folder)  # It looks for reports that others left.
    assert victim.read_text() == "mine"


def test_a_request_that_came_to_nothing_leaves_nothing(tmp_path):
    with pytest.raises(UserError), ReportFolder(str(tmp_path / "report"), "a", overwrite=False):
        raise UserError("no such checkpoint")
    assert not list(tmp_path.iterdir())


def test_finishing_clears_unfinished_reports_of_other_requests_for_the_same_place(tmp_path):
    target = str(tmp_path / "report")
    with ReportFolder(target, "a", overwrite=False) as folder:
        folder.keep(SHARD, TABLE, TABLE)
    with ReportFolder(target, "b", overwrite=False) as folder:
        finish(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


def test_two_processes_do_not_write_one_report(tmp_path):
    target = str(tmp_path / "report")
    with ReportFolder(target, "a", overwrite=False), pytest.raises(UserError, match="another process"):
        ReportFolder(target, "a", overwrite=False)


def test_a_report_is_replaced_only_when_that_is_asked_for(tmp_path):
    target = tmp_path / "report"
    with ReportFolder(str(target), "a", overwrite=False) as folder:
        finish(folder)
    with pytest.raises(UserError, match="--overwrite"):
        ReportFolder(str(target), "a", overwrite=False)
    (target / "old.png").touch()
    with ReportFolder(str(target), "a", overwrite=True) as folder:
        finish(folder)
    assert not (target / "old.png").exists()


def test_a_folder_that_is_no_report_is_never_replaced(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UserError, match="not a report"):
        ReportFolder(str(tmp_path), "a", overwrite=True)
    with pytest.raises(UserError, match="is a file"):
        ReportFolder(str(tmp_path / "thesis.tex"), "a", overwrite=True)


def test_a_report_for_an_object_store_is_uploaded_with_its_run_file_last(bucket, s3_server, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with behind(s3_server, monkeypatch) as proxy, ReportFolder(f"{bucket}/report", "a", overwrite=False) as folder:
        finish(folder)
    place = f"/{bucket.removeprefix('s3://')}/report"
    assert proxy.written == [f"{place}/predictions/part-test-00000-000.parquet", f"{place}/{RUN_FILE}"]
    assert not list((tmp_path / "fer_evaluation").iterdir())


def test_a_report_in_an_object_store_is_replaced_only_when_that_is_asked_for(bucket, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    target = f"{bucket}/report"
    with ReportFolder(target, "a", overwrite=False) as folder:
        finish(folder)
    with pytest.raises(UserError, match="--overwrite"):
        ReportFolder(target, "a", overwrite=False)
    write_file(f"{target}/old.png", b"")
    with ReportFolder(target, "a", overwrite=True) as folder:
        finish(folder)
    assert exists(f"{target}/{RUN_FILE}")
    assert not exists(f"{target}/old.png")


def test_a_place_in_an_object_store_that_holds_no_report_is_never_replaced(bucket):
    write_file(f"{bucket}/theses/mine.tex", b"precious")
    with pytest.raises(UserError, match="not a report"):
        ReportFolder(f"{bucket}/theses", "a", overwrite=True)
