import json

import pytest

from tests.cluster.chaos import main


@pytest.mark.cluster
@pytest.mark.slow
def test_jobs_end_as_they_would_have_without_six_faults(tmp_path):
    """This seed kills the head, a worker and a node, gives a node notice, stops a job, and adds a node."""
    report = tmp_path / "chaos.json"
    failed = main(["--faults", "6", "--per-job", "2", "--seed", "207", "--out", str(report)])
    assert not failed, report.read_text()
    told = json.loads(report.read_text())
    assert len(told["faults"]) == 6
    assert set(told["jobs"]) == {"sweep", "evaluate", "train"}
