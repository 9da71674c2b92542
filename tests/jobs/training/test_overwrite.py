"""`--overwrite` removes what a run, a sweep or a report wrote, and never anything else."""

import json

import pytest

from fer_data.errors import UserError
from jobs.evaluation.report_folder import RUN_FILE, check_target
from jobs.training.config import TrainConfig
from jobs.training.run_folder import CONFIG_FILE, RunFolder
from jobs.tuning.sweep_folder import SweepFolder


@pytest.mark.parametrize("config", [b"{}", b'{"name": "my web app"}', b"[", b'{"model": "cnn", "epochs": -1}'])
def test_a_folder_with_another_programs_config_is_kept(config, tmp_path):
    (tmp_path / CONFIG_FILE).write_bytes(config)
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="not overwritten"):
        RunFolder(str(tmp_path)).start(TrainConfig(), "f", overwrite=True)
    assert (tmp_path / "thesis.txt").exists()


def test_a_run_with_a_file_of_somebody_else_is_kept(tmp_path):
    run = RunFolder(str(tmp_path / "run"))
    run.start(TrainConfig(), "f", overwrite=False)
    (tmp_path / "run" / "best").mkdir()
    run.start(TrainConfig(epochs=3), "f", overwrite=True)
    assert not (tmp_path / "run" / "best").exists()
    (tmp_path / "run" / "notes.md").touch()
    with pytest.raises(UserError, match=r"holds notes\.md, which no run writes"):
        run.start(TrainConfig(), "f", overwrite=True)


def test_a_sweep_and_a_report_are_told_from_other_folders(tmp_path):
    (tmp_path / "sweep.json").write_text("{}")
    with pytest.raises(UserError, match="not overwritten"):
        SweepFolder(str(tmp_path)).start({}, overwrite=True)
    (tmp_path / "sweep.json").unlink()
    (tmp_path / RUN_FILE).write_text(json.dumps({"name": "npm"}))
    with pytest.raises(UserError, match="not overwritten"):
        check_target(str(tmp_path), overwrite=True)
    (tmp_path / RUN_FILE).write_text(json.dumps({"checkpoints": []}))
    check_target(str(tmp_path), overwrite=True)
    (tmp_path / "node_modules").mkdir()
    with pytest.raises(UserError, match="holds node_modules"):
        check_target(str(tmp_path), overwrite=True)
