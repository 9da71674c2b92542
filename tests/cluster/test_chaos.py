"""A short clock of faults; `python -m tests.cluster.chaos` runs the long one."""

import pytest

from tests.cluster.chaos import Chaos

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


def test_jobs_end_as_they_would_have_without_faults(tmp_path):
    report = Chaos(tmp_path, faults=3, per_job=1, seed=4, say=print).run()
    assert not report.problems
    assert len(report.faults) == 3
