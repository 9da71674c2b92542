"""The tables of a report on a terminal of 80 columns."""

from rich.console import Console

from jobs.evaluation.report.terminal import figures_table


def test_names_and_headings_are_whole_on_80_columns(capsys):
    table = figures_table("public_test", "checkpoint", extra=("AUC", "ECE"))
    name = "wide/best/epoch-0071-of-a-long-name"
    table.add_row(name, "68.63", "67.09 – 70.12", "67.21", "0.656", "0.923", "0.026")
    Console(width=80).print(table)
    printed = capsys.readouterr().out
    assert "checkpoint" in printed
    assert "…" not in printed
    lines = [line.split()[0] for line in printed.splitlines()[4:] if line.strip()]
    assert "".join(lines) == name
