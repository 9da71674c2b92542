"""Rank the checkpoints of finished reports by their tables, without scoring anything."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from fer_data.commands import counted
from fer_data.errors import UserError
from fer_data.storage import (
    UNFINISHED,
    absolute,
    is_remote,
    join,
    one_line,
    read_file,
    redacted,
    reported,
    resolve,
    write_file,
)
from fer_data.text import for_spreadsheet
from jobs.evaluation.report.ranking import Row, on_unseen, ranked
from jobs.evaluation.report.schemas import LEADERBOARD, METRICS
from jobs.evaluation.report.terminal import main_figures, print_figures
from jobs.evaluation.report.wording import averaged, number, percent
from jobs.evaluation.report_folder import RUN_FILE, parquet_bytes
from jobs.page import environment

LEADERBOARD_FILE = "leaderboard.parquet"
PAGE = "leaderboard.html"
_NEEDED = {"checkpoint", "split", "rows", "accuracy", "macro_f1"}
"""The columns of the metrics without which a report cannot be ranked."""


def compare(reports: Sequence[str], out: str | None, console: Console) -> str:
    """Print the ranking of `reports` and write it as `leaderboard.html`, `.parquet` and `.csv` into the folder `out`.

    The default of `out` is `leaderboard` beside the first report. Returns the folder. Paths that are not reports, such
    as an earlier ranking that `reports/*` matches, are skipped. Raises UserError when a report is damaged or missing,
    or when there is none.
    """
    rows: list[Row] = []
    for report in dict.fromkeys(absolute(report) for report in reports):
        if _is_report(report):
            rows += _rows(report)
        elif os.path.lexists(report):
            if not (Path(report) / LEADERBOARD_FILE).exists():
                console.out(f"skipped {report}: not a finished report")
        else:
            raise UserError(f"{redacted(report)} does not exist: give the folders of finished reports")
    if not rows:
        raise UserError(f"{', '.join(reports[:3])}: no finished report (a report has {RUN_FILE} and metrics.parquet)")
    folder = absolute(out) if out else join(str(Path(absolute(reports[0])).parent), "leaderboard")
    pages = _name_reports(rows, folder)
    ranking = rank(rows)
    _print(ranking, console)
    table = pa.Table.from_pylist(ranking, schema=LEADERBOARD)
    csv = table.to_pandas().map(for_spreadsheet).to_csv(index=False).encode()
    page = _page(ranking, pages).encode()
    _write(folder, {LEADERBOARD_FILE: parquet_bytes(table), "leaderboard.csv": csv, PAGE: page})
    return folder


def rank(rows: Sequence[Row]) -> list[Row]:
    """`rows` of metrics with their rank, the best first, ranked separately for each data set, protocol and split."""
    rows = sorted(rows, key=lambda row: (row["report"], row["checkpoint"]))
    tasks = sorted({_task(row) for row in rows})
    return [row for task in tasks for row in ranked([row for row in rows if _task(row) == task])]


def _task(row: Row) -> tuple[str, str, str]:
    return row["split"], row["protocol"], row["data_fingerprint"]


def _is_report(uri: str) -> bool:
    with reported(uri):
        filesystem, path = resolve(uri)
        found = filesystem.get_file_info([f"{path}/{RUN_FILE}", f"{path}/metrics.parquet"])
    return all(info.is_file for info in found)


def _rows(report: str) -> list[Row]:
    try:
        run = json.loads(read_file(join(report, RUN_FILE)))
        filesystem, path = resolve(report)
        metrics = pq.read_table(f"{path}/metrics.parquet", filesystem=filesystem)
        if missing := _NEEDED - set(metrics.column_names):
            raise ValueError(f"metrics.parquet has no column {sorted(missing)[0]}")
        shared = {"report": report, "data_fingerprint": run["data"]["fingerprint"]}
        shared |= {name: run[name] for name in ("protocol", "tta")}
        parameters = run.get("parameters", {})
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise UserError(f"{redacted(report)}: the report is damaged ({one_line(error, 120)}): run it again") from error
    unknown = dict.fromkeys(METRICS.names)  # What a report of an older version does not have.
    return [unknown | row | shared | {"parameters": parameters.get(row["checkpoint"])} for row in metrics.to_pylist()]


def _name_reports(rows: Sequence[Row], folder: str) -> dict[str, str]:
    """Replace the paths of reports by their last components where these differ.

    Returns, by that name, where a page in `folder` finds the report's own page; nothing for reports in object stores.
    """
    paths = {row["report"] for row in rows}
    short = len({Path(path).name for path in paths}) == len(paths)
    pages = {}
    for row in rows:
        path = row["report"]
        row["report"] = Path(path).name if short else path
        if not is_remote(path) and not is_remote(folder):
            pages[row["report"]] = quote(os.path.relpath(f"{path}/report.html", folder))
    return pages


def _tasks(ranking: Sequence[Row]) -> Iterator[tuple[str, list[Row]]]:
    """The rows that are ranked together, with a title that says on what."""
    for task in dict.fromkeys(_task(row) for row in ranking):
        own = [row for row in ranking if _task(row) == task]
        split, protocol, fingerprint = task
        yield f"{split}, {protocol} protocol, {counted(own[0]['rows'], 'image')}, data {fingerprint[:8]}", own


def _print(ranking: Sequence[Row], console: Console) -> None:
    for title, own in _tasks(ranking):
        unseen = on_unseen(own)
        shown = []
        for row in own:
            views = f" ({row['tta']})" if row["tta"] != "none" else ""
            names = (str(row["rank"]), row["report"], row["checkpoint"] + views)
            shown.append((names, main_figures(row, unseen=unseen)))
        print_figures(title, ("#", "report", "checkpoint"), shown, console, unseen=unseen)


def _page(ranking: Sequence[Row], pages: Mapping[str, str]) -> str:
    templates = environment(Path(__file__).parent)
    templates.filters |= {"percent": percent, "number": number}
    return templates.get_template("leaderboard.html.j2").render(
        title=f"Ranking of {counted(len({row['report'] for row in ranking}), 'report')}",
        tasks=[
            {
                "title": title,
                "unseen": on_unseen(own),
                "rows": [row | {"page": pages.get(row["report"]), "views": averaged(row["tta"])} for row in own],
            }
            for title, own in _tasks(ranking)
        ],
    )


def _write(folder: str, files: dict[str, bytes]) -> None:
    path = Path(folder)
    names = {entry.name for entry in path.iterdir()} if path.is_dir() else set()
    strange = {name for name in names - files.keys() if not name.startswith(UNFINISHED)}
    if path.exists() and (not path.is_dir() or strange):
        raise UserError(f"{folder} holds something other than a ranking: choose another --out")
    for name, content in files.items():
        write_file(join(folder, name), content)
