"""Any bytes at all, seeded by real files: a reader reads them or refuses them in one line.

Each reader has 10 seconds, and the same bytes each time. FUZZ_SECONDS is for a longer look, at other bytes each time:

    FUZZ_SECONDS=200 .venv/bin/pytest -m slow tests/hostile/test_fuzz.py
"""

import os
import shutil
import time
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.hostile import inputs, models
from tests.hostile.reading import outcome

pytestmark = pytest.mark.slow
SECONDS = float(os.environ.get("FUZZ_SECONDS", "10"))
# LiteRT and ONNX Runtime parse in native code, in which a torn file can end the process: those are in test_hostile.py.
SEEDS = {
    "image": [content for _, _, content in inputs.images() if len(content) < 20_000],
    "prepare": [content for _, _, content in (*inputs.archives(), *inputs.tables()) if len(content) < 20_000],
    "network": [content for _, _, content in models.networks() if len(content) < 20_000],
    "card": [(inputs.RELEASED / "card.json").read_bytes()],
    "recipe": [(inputs.RELEASED / "recipe.toml").read_bytes()],
    "config": [b"{}", b'{"model": "cnn", "epochs": 3}'],
    "class_map": [b'7 = "ignore"\n', b'happy = "happy"\n'],
}
SUFFIX = {"image": "", "prepare": "", "network": ".keras", "card": ".json", "recipe": ".toml", "config": ".json"}


@pytest.mark.parametrize("reader", SEEDS)
def test_any_bytes_are_read_or_refused(reader, tmp_path):
    ends = time.monotonic() + SECONDS
    file = tmp_path / f"fuzzed{SUFFIX.get(reader, '.toml')}"
    file.write_bytes(SEEDS[reader][0])
    outcome(reader, str(file))  # What the reader imports counts for no file.
    cuts = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 64), st.binary(max_size=64)), max_size=5)

    @settings(
        max_examples=10**6,
        deadline=None,
        database=None,
        derandomize="FUZZ_SECONDS" not in os.environ,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(seed=st.sampled_from(SEEDS[reader]), changes=cuts)
    def fuzz(seed, changes):
        if time.monotonic() > ends:
            pytest.skip("time is up")
        for where, length, new in changes:
            at = int(where * len(seed))
            seed = seed[:at] + new + seed[at + length :]
        file.write_bytes(seed)
        shutil.rmtree(f"{file}.out", ignore_errors=True)  # What the last one left.
        what = outcome(reader, str(file))
        assert not what["said"].startswith("bug"), what
        assert what["megabytes"] < 400, what
        assert what["seconds"] < 5, what

    with suppress(pytest.skip.Exception):
        fuzz()
