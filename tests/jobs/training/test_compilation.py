"""When XLA compiles, where it keeps what it compiled, and what is refused before a run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fer_data.errors import UserError
from jobs.training.checks import check_profile
from jobs.training.compilation import is_compiled, set_up_xla
from jobs.training.config import TrainConfig
from jobs.training.throughput import peak_tflops, tflops
from tests.conftest import REPOSITORY

ONE_PROGRAM = """
from jobs.training.compilation import set_up_xla
set_up_xla(deterministic=True)
import tensorflow as tf
print(float(tf.function(lambda x: tf.reduce_sum(x @ x), jit_compile=True)(tf.ones((8, 8)))))
"""


def test_long_runs_on_gpus_are_compiled_and_others_when_they_ask_for_it():
    assert is_compiled("auto", on_gpu=True, steps=10_000)
    assert not is_compiled("auto", on_gpu=True, steps=100)
    assert not is_compiled("auto", on_gpu=False, steps=10_000)
    assert is_compiled("on", on_gpu=False, steps=1)
    assert not is_compiled("off", on_gpu=True, steps=10_000)


def test_what_is_compiled_is_kept_in_the_users_cache_for_the_next_start(tmp_path):
    cache = tmp_path / "fer_jobs/xla"
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", ONE_PROGRAM],
            env=os.environ | {"XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr  # XLA ends a process that is given a flag it does not know.
        assert float(done.stdout) == 512
        assert len(list(cache.iterdir())) == 1
    assert cache.stat().st_mode & 0o077 == 0


def test_flags_that_the_user_has_set_come_last_and_win(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("TF_XLA_FLAGS", "--tf_xla_persistent_cache_directory=/mine")
    monkeypatch.setenv("XLA_FLAGS", "")
    set_up_xla(deterministic=False)
    assert os.environ["TF_XLA_FLAGS"].endswith(" --tf_xla_persistent_cache_directory=/mine")
    assert os.environ["XLA_FLAGS"] == ""
    monkeypatch.setenv("XDG_CACHE_HOME", str(Path("/proc/nowhere")))
    monkeypatch.delenv("TF_XLA_FLAGS")
    set_up_xla(deterministic=True)  # No home that can be written: nothing is kept.
    assert "TF_XLA_FLAGS" not in os.environ
    assert "--xla_gpu_deterministic_ops=true" in os.environ["XLA_FLAGS"]


def test_a_profile_of_nothing_is_refused_before_the_run():
    config = TrainConfig(epochs=2, batch_size=100)
    check_profile(config, [], rows=150)
    with pytest.raises(UserError, match="2 steps are left"):
        check_profile(config, [], rows=100)
    finished = [{"epoch": epoch, "validation_loss": 1.0} for epoch in (1, 2)]
    with pytest.raises(UserError, match="nothing to profile: all 2 epochs done"):
        check_profile(config, finished, rows=1000)


def test_the_share_of_a_card_is_of_its_dense_peak_in_the_precision_used():
    assert peak_tflops("NVIDIA H200", "mixed_bfloat16") == 989
    assert peak_tflops("NVIDIA A100-SXM4-80GB", "float32") == 156
    assert peak_tflops("Some other card", "float32") is None
    # As measured on an H200: 38,200 images a second of a network of 645 million multiply-adds.
    assert tflops(645_000_000, 38_200) == pytest.approx(148, rel=0.01)
