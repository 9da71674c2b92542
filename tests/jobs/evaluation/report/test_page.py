"""The first screen of the page: which checkpoint is best, how good, how sure; and one verdict for each pair."""

import re
from html import unescape

import numpy as np
import pytest

from fer_models.metrics import METRICS
from jobs.evaluation.report.page import render
from jobs.evaluation.report.wording import percent, verdict
from tests.jobs.evaluation.report.made_up import LABELS, made_up

SOME_UNSEEN = np.arange(len(LABELS)) % 4 > 0


def page_of(accuracies, splits=("public_test",), labels=None, unseen=None, trained=True):
    tables, _ = made_up(accuracies, splits, unseen)
    names = list(dict.fromkeys(tables["metrics"].column("checkpoint").to_pylist()))
    data = {"source": "made up", "fingerprint": "0" * 32}
    run = {"splits": splits, "data": data, "protocol": "challenge", "tta": "none"}
    labels = labels or {name: f"run-{name}" for name in names}
    html = render(run=run, tables=tables, labels=labels, plots={}, galleries=[], suspects=[], pairs={}, trained=trained)
    return html, tables


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
    assert "Significantly better than any other checkpoint" in start[:500]


def test_accuracy_on_unseen_photographs_comes_first_and_the_one_that_papers_use_beside_it():
    html, tables = page_of([0.5, 0.7], unseen=SOME_UNSEEN)
    best = tables["metrics"].to_pylist()[1]
    interval = f"{100 * best['accuracy_unseen_low']:.2f} – {percent(best['accuracy_unseen_high'])}"
    start = text_of(html).strip()
    assert start.startswith(
        f"2 checkpoints on public_test Best on public_test: run-b accuracy on unseen photographs "
        f"{percent(best['accuracy_unseen'])} 95 % interval {interval} "
        f"accuracy {percent(best['accuracy'])} all images, the figure that papers use "
        f"macro F1 {best['macro_f1_unseen']:.3f} unseen photographs 25.0 % of these images show a photograph that is "
        "in the training images: 0 exact and 898 near copies."
    )
    assert "Memory or skill" in html
    assert "near, another label" in html


def test_the_first_screen_says_how_to_get_figures_on_unseen_photographs():
    html, _ = page_of([0.6])
    assert "jobs/prepare_data.py --near-copies on" in text_of(html).partition("All metrics")[0]
    assert "Memory or skill" not in html
    assert "unseen accuracy" not in html


def test_the_first_screen_says_when_nothing_was_seen_in_training():
    html, _ = page_of([0.6], unseen=np.ones(len(LABELS), bool))
    assert "None of these images shows a photograph that is in the training images." in html
    assert "Memory or skill" not in html
    html, _ = page_of([0.6], unseen=np.ones(len(LABELS), bool), trained=False)
    assert "The data set has no training images" in html


def test_images_that_were_all_seen_leave_the_figures_of_all_images_in_the_first_place():
    html, tables = page_of([0.6, 0.7], unseen=np.zeros(len(LABELS), bool))
    start = text_of(html).partition("All metrics")[0]
    assert f"run-b accuracy {percent(tables['metrics'].to_pylist()[1]['accuracy'])} 95 % interval" in start
    assert "100.0 % of these images show a photograph" in start


def test_the_verdict_is_on_the_images_by_which_checkpoints_are_ranked():
    few = np.arange(len(LABELS)) < 3
    html, tables = page_of([0.5, 0.7], unseen=few)
    (row,) = tables["comparisons"].to_pylist()
    assert (row["better"], row["better_unseen"], row["rows_unseen"]) == ("b", None, 3)
    assert "Not significantly better than any other checkpoint" in html
    assert verdict(row, {"a": "a", "b": "b"}).startswith("public_test: no significant difference between ")
    assert " on unseen photographs (" in verdict(row, {"a": "a", "b": "b"})


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


def test_a_difference_has_one_sign_on_page_and_terminal():
    html, tables = page_of([0.7, 0.5], unseen=SOME_UNSEEN)
    (row,) = tables["comparisons"].to_pylist()
    assert row["difference"] < 0  # That of the file: b minus a.
    text = text_of(html)
    assert f"run-a – run-b {100 * -row['difference_unseen']:+.2f}" in text
    assert f"{100 * -row['difference']:+.2f}" in text
    assert f"by {100 * -row['difference_unseen']:.2f} points" in verdict(row, {"a": "run-a", "b": "run-b"})


def test_names_are_shown_as_text():
    html, _ = page_of([0.6], labels={"a": "<script>alert(1)</script>"})
    assert "<script>" not in html
