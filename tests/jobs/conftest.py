"""Fixtures of the jobs' tests."""

import pytest


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory) -> list[str]:
    """Two checkpoints of tiny networks."""
    from tests.jobs.evaluation.tiny import tiny_checkpoint

    folder = tmp_path_factory.mktemp("checkpoints")
    return [tiny_checkpoint(str(folder / name), seed) for seed, name in enumerate(("one", "two"))]
