"""When XLA compiles, and where it keeps what it compiled."""

import os
import subprocess
import sys
from pathlib import Path

from jobs.training.compilation import is_compiled, set_up_xla
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
