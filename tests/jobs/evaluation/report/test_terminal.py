"""The figures of a report on a terminal."""

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console

from jobs.evaluation.report.tables import robustness_table
from jobs.evaluation.report.terminal import print_figures, print_metrics, print_robustness
from tests.jobs.evaluation.report.made_up import LABELS, made_up


@pytest.mark.parametrize("unseen", [False, True])
@pytest.mark.parametrize("width", [80, 120])
def test_names_and_headings_are_whole_however_narrow_the_terminal(capsys, unseen, width):
    name = "wide/best/epoch-0071-of-a-long-name"
    rows = [((name,), ("68.63", "67.09 – 70.12", "67.21", "0.656", "0.923", "0.026"))]
    console = Console(width=width, highlight=False)
    print_figures("public_test", ("checkpoint",), rows, console, unseen=unseen, extra=("AUC", "ECE"))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    (named,) = [line for line in lines if name in line]
    assert ("68.63" in named) == (width == 120)
    assert not [line for line in lines if "…" in line]


def test_the_title_says_which_views_were_averaged(capsys):
    found, _ = made_up([0.6])
    print_metrics(found["metrics"], found["per_class"], {"a": "mine"}, "flip", Console(width=80))
    told = "public_test: 3,589 images, averaged over each image and its mirror image"
    assert capsys.readouterr().out.splitlines()[0] == told


def test_classes_that_do_not_occur_are_named_with_what_they_cost(capsys):
    found, _ = made_up([0.6])
    every = found["per_class"].to_pylist()
    without = [{**row, "support": row["support"] * (row["class"] != "fear")} for row in every]
    unseen = [{**row, "support_unseen": row["support"]} for row in without]
    told = "of fear: such classes count as 0 in macro figures, so macro F1 is at most 0.857"
    for rows, lines in ((every, []), (without, [f"no image {told}"]), (unseen, [f"no unseen image {told}"])):
        table = pa.Table.from_pylist(rows, schema=found["per_class"].schema)
        print_metrics(found["metrics"], table, {"a": "mine"}, "none", Console(width=200))
        assert [line for line in capsys.readouterr().out.splitlines() if "macro figures" in line] == lines


def test_each_checkpoint_has_a_line_on_corruptions(capsys):
    _, every = made_up([0.6, 0.7])
    right = {name: every[name]["public_test"].everything.confusion for name in "ab"}
    corrupted = {(name, "public_test", "jpeg", strength): right[name] for name in "ab" for strength in (1, 2)}
    corrupted["b", "public_test", "jpeg", 2] = np.roll(right["b"], 1, axis=1)
    print_robustness(robustness_table(every, corrupted), {"a": "one", "b": "other"}, Console(width=80))
    one, other = capsys.readouterr().out.splitlines()
    accuracy = f"{100 * right['a'].trace() / right['a'].sum():.2f} %"
    assert one == (
        f"public_test: one under corruptions: {accuracy} on average (without: {accuracy}), least with jpeg at "
        f"strength 1: {accuracy}"
    )
    assert "least with jpeg at strength 2: " in other


@pytest.mark.parametrize("known", [False, True])
def test_accuracy_on_unseen_images_comes_first_where_it_is_known(capsys, known):
    found, _ = made_up([0.6], unseen=LABELS > 1 if known else None)
    (row,) = found["metrics"].to_pylist()
    print_metrics(found["metrics"], found["per_class"], {"a": "mine"}, "none", Console(width=80))
    printed = capsys.readouterr().out
    headings = ("unseen %", "all images") if known else ("accuracy %", "leak-free")
    assert all(heading in printed for heading in headings)
    first = row["accuracy_unseen" if known else "accuracy"]
    assert printed.partition("mine")[2].split()[0] == f"{100 * first:.2f}"
