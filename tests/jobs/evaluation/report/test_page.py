"""The first screen of the page: which checkpoint is best, how good, how sure; and one verdict for each pair."""

import re
from html import unescape

import pytest

from fer_models.metrics import METRICS
from jobs.evaluation.report.page import render
from jobs.evaluation.report.wording import percent, verdict
from tests.jobs.evaluation.report.made_up import made_up


def page_of(accuracies, splits=("public_test",), labels=None):
    tables, _ = made_up(accuracies, splits)
    names = list(dict.fromkeys(tables["metrics"].column("checkpoint").to_pylist()))
    data = {"source": "made up", "fingerprint": "0" * 32}
    run = {"splits": splits, "data": data, "protocol": "challenge", "tta": "none"}
    labels = labels or {name: f"run-{name}" for name in names}
    return render(run=run, tables=tables, labels=labels, plots={}, galleries=[]), tables


def text_of(html: str) -> str:
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html.partition("<body>")[2])))


def test_the_best_checkpoint_its_accuracy_and_how_sure_it_is_come_first():
    html, tables = page_of([0.5, 0.7, 0.4])
    best = tables["metrics"].to_pylist()[1]
    interval = f"{100 * best['accuracy_low']:.2f} – {percent(best['accuracy_high'])}"
    start = text_of(html).strip()
    assert start.startswith(
        f"3 checkpoints on public_test Best on public_test: run-b accuracy {percent(best['accuracy'])} "
        f"95 % interval {interval} macro F1 {best['macro_f1']:.3f}"
    )
    assert "Significantly better than any other checkpoint" in start[:300]


def test_checkpoints_are_ranked_on_the_first_screen():
    html, _ = page_of([0.5, 0.7, 0.4])
    assert re.findall(r"(\d)\. (run-.)", text_of(html)) == [("1", "run-b"), ("2", "run-a"), ("3", "run-c")]


def test_the_first_screen_says_what_the_test_finds_for_each_of_the_others():
    html, tables = page_of([0.66, 0.67, 0.4])
    p = next(r["p_value_corrected"] for r in tables["comparisons"].to_pylist() if r["checkpoint_b"] == "b")
    start = text_of(html).partition("All metrics")[0]
    assert "Significantly better than 1 of 2 other checkpoints" in start
    assert f"run-a not significantly worse (p = {p:.2g})" in start
    assert "run-c significantly worse (p < 0.0001)" in start


def test_every_split_has_its_own_summary():
    html, _ = page_of([0.5, 0.7], ("public_test", "training"))
    assert "Best on public_test" in html
    assert "Best on training" in html


def test_a_single_checkpoint_has_its_figures_and_nothing_to_be_compared_with():
    html, _ = page_of([0.6])
    assert "run-a" in html
    assert "95 % interval" in html
    assert "Best on" not in html
    assert "better than" not in text_of(html).partition("All metrics")[0]


def test_every_metric_with_a_title_is_shown_and_explained():
    html, _ = page_of([0.6])
    for metric in METRICS.values():
        if metric.title:
            assert html.count(f">{metric.title}<") >= 2


@pytest.mark.parametrize("accuracies", [[0.66, 0.67, 0.68], [0.6, 0.625], [0.5, 0.7]])
def test_a_verdict_states_no_interval_that_its_p_value_could_contradict(accuracies):
    html, tables = page_of(accuracies)
    for row in tables["comparisons"].to_pylist():
        words = verdict(row, {"a": "a", "b": "b", "c": "c"})
        assert ("is significantly better than" in words) == (row["p_value_corrected"] < 0.05)
        assert ("no significant difference" in words) == (row["better"] is None)
        assert "interval" not in words
        for end in ("difference_low", "difference_high"):
            assert f"{100 * row[end]:+.2f}" not in html


def test_names_are_shown_as_text():
    html, _ = page_of([0.6], labels={"a": "<script>alert(1)</script>"})
    assert "<script>" not in html
