import subprocess
import sys

import pytest

from cluster.sizing import Link, main, step, useful_workers
from tests.conftest import REPOSITORY


def test_one_worker_has_nobody_to_send_gradients_to():
    one = step(1, rate=100, batch=50, gradient_bytes=10**9, link=Link(1e6, 1.0))
    assert (one.compute, one.reduce) == (0.5, 0)


def test_a_ring_of_four_sends_three_quarters_of_the_bytes_twice():
    four = step(4, rate=100, batch=400, gradient_bytes=8_000_000, link=Link(1e6, 0.001))
    assert four.compute == 1.0
    assert four.reduce == pytest.approx(2 * 3 / 4 * 8 + 6 * 0.001)


def test_scaling_stops_where_gradients_travel_for_as_long_as_workers_compute():
    case = {"rate": 100.0, "batch": 1000, "gradient_bytes": 5_000_000, "link": Link(1e7, 0.0)}
    most = useful_workers(**case)
    inside, beyond = step(most, **case), step(most + 1, **case)
    assert inside.reduce <= inside.compute
    assert beyond.reduce > beyond.compute


def test_a_known_card_gets_its_share(capsys):
    main(["--model", "compact", "--rate", "49719", "--card", "H200"])
    # 6 operations for each of 51.6 M multiply-adds of 49,719 images, of 989 TFLOP/s.
    assert "one worker: 15.4 TFLOP/s, 1.6% of the peak of H200 in mixed_bfloat16" in capsys.readouterr().out


def test_the_share_of_an_unknown_card_is_not_guessed(capsys):
    main(["--model", "compact", "--rate", "49719", "--card", "Abacus"])
    assert "one worker: 15.4 TFLOP/s, the peak of Abacus is not known" in capsys.readouterr().out


def test_it_loads_neither_tensorflow_nor_ray():
    code = (
        "import sys; from cluster.sizing import main; main(['--model', 'cnn', '--rate', '9', '--card', 'H100']); "
        "assert not {'tensorflow', 'ray', 'keras'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True, capture_output=True)


def test_the_table_says_what_scaling_costs(capsys):
    main(["--model", "resnet50", "--rate", "1500", "--gbit", "25", "--price", "0.8"])
    printed = capsys.readouterr().out
    assert "94.5 MB of gradients" in printed
    assert "beyond 3 workers" in printed
