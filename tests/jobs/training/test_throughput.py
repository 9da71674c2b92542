"""Arithmetic per second, and its share of what a card can do."""

import pytest

from jobs.training.throughput import peak_tflops, tflops


def test_the_share_of_a_card_is_of_its_dense_peak_in_the_precision_used():
    assert peak_tflops("NVIDIA H200", "mixed_bfloat16") == 989
    assert peak_tflops("NVIDIA A100-SXM4-80GB", "float32") == 156
    assert peak_tflops("Some other card", "float32") is None
    # As measured on an H200: 38,200 images a second of a network of 645 million multiply-adds.
    assert tflops(645_000_000, 38_200) == pytest.approx(148, rel=0.01)
