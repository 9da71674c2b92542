import json
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from fer_data.errors import UserError
from jobs.evaluation.report.leaderboard import compare
from jobs.evaluation.report.schemas import METRICS


def write_report(folder, fingerprint="f" * 32, split="test", unseen=None, **accuracies):
    """A report on checkpoints of these accuracies; `unseen` has those on unseen images."""
    folder.mkdir(parents=True)
    unseen = unseen or {}
    rows = [
        dict.fromkeys(METRICS.names)
        | {"checkpoint": name, "split": split, "rows": 10, "errors": 0, "accuracy": accuracy, "macro_f1": accuracy}
        | {"accuracy_unseen": unseen.get(name), "macro_f1_unseen": unseen.get(name)}
        for name, accuracy in accuracies.items()
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=METRICS), folder / "metrics.parquet")
    run = {"data": {"fingerprint": fingerprint}, "protocol": "challenge", "tta": "none", "parameters": {"a": 7}}
    (folder / "run.json").write_text(json.dumps(run))
    return str(folder)


def ranking(*reports, **options):
    folder = compare(reports, options.get("out"), Console(quiet=True))
    return pq.read_table(f"{folder}/leaderboard.parquet").to_pylist()


def test_the_best_of_all_reports_comes_first(tmp_path):
    reports = [write_report(tmp_path / "x", a=0.5, b=0.7), write_report(tmp_path / "y", c=0.6)]
    rows = ranking(*reports)
    assert [(row["rank"], row["report"], row["checkpoint"]) for row in rows] == [
        (1, "x", "b"),
        (2, "y", "c"),
        (3, "x", "a"),
    ]
    assert rows[2]["parameters"] == 7
    assert (tmp_path / "leaderboard/leaderboard.csv").exists()
    page = (tmp_path / "leaderboard/leaderboard.html").read_text()
    assert re.findall(r"<td>(\d\. \w)", page) == ["1. b", "2. c", "3. a"]
    assert 'href="../y/report.html"' in page


def test_ties_share_a_rank_and_a_figure_that_is_missing_is_last(tmp_path):
    rows = ranking(write_report(tmp_path / "x", a=0.5, b=0.5, c=None, d=0.4))
    assert [(row["checkpoint"], row["rank"]) for row in rows] == [("a", 1), ("b", 1), ("d", 3), ("c", 4)]


def test_accuracy_on_unseen_images_decides_where_every_report_has_it(tmp_path, capsys):
    x = write_report(tmp_path / "x", a=0.7, b=0.6, unseen={"a": 0.4, "b": 0.5})
    y = write_report(tmp_path / "y", c=0.65, unseen={"c": 0.45})
    assert [row["checkpoint"] for row in ranking(x, y)] == ["b", "c", "a"]
    compare([x, y], None, Console(width=80))
    assert "unseen %" in capsys.readouterr().out


def test_a_figure_on_unseen_images_is_not_ranked_against_one_on_all_images(tmp_path):
    new = write_report(tmp_path / "new", a=0.6, unseen={"a": 0.5})
    old = write_report(tmp_path / "old", b=0.55)
    assert [row["checkpoint"] for row in ranking(new, old)] == ["a", "b"]


def test_other_images_are_ranked_apart(tmp_path):
    reports = [
        write_report(tmp_path / "x", a=0.5),
        write_report(tmp_path / "y", fingerprint="0" * 32, a=0.7),
        write_report(tmp_path / "z", split="public_test", a=0.6),
    ]
    assert [row["rank"] for row in ranking(*reports)] == [1, 1, 1]


def test_a_report_from_before_a_column_was_added_is_ranked_without_it(tmp_path):
    old, new = write_report(tmp_path / "old", a=0.6), write_report(tmp_path / "new", a=0.5)
    metrics = pq.read_table(f"{old}/metrics.parquet")
    later = [name for name in metrics.column_names if "unseen" in name]
    pq.write_table(metrics.drop_columns(["errors", "accuracy_leak_free", *later]), f"{old}/metrics.parquet")
    assert [(row["report"], row["errors"]) for row in ranking(old, new)] == [("old", None), ("new", 0)]


def test_ranking_again_passes_over_the_ranking_itself(tmp_path):
    report = write_report(tmp_path / "x", a=0.5)
    first = ranking(report)
    assert ranking(report, str(tmp_path / "leaderboard")) == first


def test_a_folder_of_something_else_is_not_written_into(tmp_path):
    report = write_report(tmp_path / "x", a=0.5)
    with pytest.raises(UserError, match="choose another --out"):
        ranking(report, out=report)


@pytest.mark.parametrize("what", ["nothing there", "no report", "a damaged report", "a report without a run"])
def test_mistakes_are_told_in_a_line(tmp_path, what):
    report = tmp_path / "x"
    if what != "nothing there":
        write_report(report, a=0.5)
    if what == "no report":
        (report / "metrics.parquet").unlink()
    elif what == "a damaged report":
        (report / "metrics.parquet").write_bytes(b"PAR1")
    elif what == "a report without a run":
        (report / "run.json").write_text("[]")
    with pytest.raises(UserError) as raised:
        ranking(str(report))
    assert str(report) in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "leaderboard").exists()
