"""The tables of a report on a terminal of 80 columns."""

import pytest
from rich.console import Console

from jobs.evaluation.report.terminal import figures_table, print_metrics
from tests.jobs.evaluation.report.made_up import LABELS, made_up


@pytest.mark.parametrize("unseen", [False, True])
def test_names_and_headings_are_whole_on_80_columns(capsys, unseen):
    table = figures_table("public_test", "checkpoint", unseen=unseen, extra=("AUC", "ECE"))
    name = "wide/best/epoch-0071-of-a-long-name"
    table.add_row(name, "68.63", "67.09 – 70.12", "67.21", "0.656", "0.923", "0.026")
    Console(width=80).print(table)
    printed = capsys.readouterr().out
    assert "checkpoint" in printed
    assert "…" not in printed
    lines = [line.split()[0] for line in printed.splitlines()[4:] if line.strip()]
    assert "".join(lines) == name


@pytest.mark.parametrize("known", [False, True])
def test_accuracy_on_unseen_images_comes_first_where_it_is_known(capsys, known):
    found, _ = made_up([0.6], unseen=LABELS > 1 if known else None)
    (row,) = found["metrics"].to_pylist()
    print_metrics(found["metrics"], {"a": "mine"}, Console(width=80))
    printed = capsys.readouterr().out
    headings = ("unseen %", "all images") if known else ("accuracy %", "leak-free")
    assert all(heading in printed for heading in headings)
    first = row["accuracy_unseen" if known else "accuracy"]
    assert printed.partition("mine")[2].split()[0] == f"{100 * first:.2f}"
