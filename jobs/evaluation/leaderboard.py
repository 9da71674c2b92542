"""Rank the checkpoints of finished reports from their tables; nothing is scored."""

import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from fer_data.errors import UserError
from fer_data.storage import absolute, join, one_line, read_file, redacted, reported, resolve
from jobs.evaluation.schemas import LEADERBOARD, METRICS
from jobs.evaluation.terminal import hundred, number
from jobs.evaluation.workspace import RUN_FILE

LEADERBOARD_FILE = "leaderboard.parquet"
Row = dict[str, Any]


def compare(reports: Sequence[str], out: str | None, console: Console) -> str:
    """Print the ranking of `reports` and write it as `leaderboard.parquet` and `.csv` into the folder `out`.

    Without `out`, that is the folder `leaderboard` beside the first report. Returns the folder. What a
    shell's `reports/*` catches besides reports (a ranking, loose files) is passed over in a line. Raises
    UserError when a report is damaged, or there is none.
    """
    rows: list[Row] = []
    for report in dict.fromkeys(absolute(report) for report in reports):
        if _is_report(report):
            rows += _rows(report)
        elif os.path.lexists(report):
            if not (Path(report) / LEADERBOARD_FILE).exists():
                console.print(f"passed over {report}: not a finished report", highlight=False, soft_wrap=True)
        else:
            raise UserError(f"{redacted(report)} does not exist: give the folders of finished reports")
    if not rows:
        raise UserError(f"{', '.join(reports[:3])}: no finished report (a report has {RUN_FILE} and metrics.parquet)")
    _name_reports(rows)
    ranked = rank(rows)
    _print(ranked, console)
    folder = absolute(out) if out else join(str(Path(absolute(reports[0])).parent), "leaderboard")
    table = pa.Table.from_pylist(ranked, schema=LEADERBOARD)
    parquet = io.BytesIO()
    pq.write_table(table, parquet, compression="zstd")
    csv = table.to_pandas().to_csv(index=False).encode()
    with reported(folder, "write the ranking to"):
        _write(folder, {LEADERBOARD_FILE: parquet.getvalue(), "leaderboard.csv": csv})
    return folder


def rank(rows: Sequence[Row]) -> list[Row]:
    """`rows` of metrics, best first and numbered, within each split of each data set.

    Ties share a rank. Only equal data, split and protocol are ranked together: other images are another task.
    """
    ranked: list[Row] = []
    for task in sorted({_task(row) for row in rows}):
        own = sorted((row for row in rows if _task(row) == task), key=_merit)
        for place, row in enumerate(own, start=1):
            tied = place > 1 and _merit(row)[:2] == _merit(own[place - 2])[:2]
            ranked.append(row | {"rank": ranked[-1]["rank"] if tied else place})
    return ranked


def _task(row: Row) -> tuple[str, str, str]:
    return row["split"], row["protocol"], row["data_fingerprint"]


def _merit(row: Row) -> tuple[float, float, str, str]:
    """Sorts the best first; rows without an accuracy last."""
    accuracy, f1 = (-1.0 if row[name] is None else row[name] for name in ("accuracy", "macro_f1"))
    return -accuracy, -f1, row["report"], row["checkpoint"]


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
        if missing := set(METRICS.names) - set(metrics.column_names):
            raise ValueError(f"metrics.parquet has no column {sorted(missing)[0]}")
        shared = {
            "report": report,
            "data_fingerprint": run["data"]["fingerprint"],
            "protocol": run["protocol"],
            "tta": run["tta"],
        }
        parameters = run.get("parameters", {})
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise UserError(f"{redacted(report)}: the report is damaged ({one_line(error, 120)}): run it again") from error
    return [row | shared | {"parameters": parameters.get(row["checkpoint"])} for row in metrics.to_pylist()]


def _name_reports(rows: Sequence[Row]) -> None:
    """Reports go by their folders' names where these differ, by their paths where not."""
    paths = {row["report"] for row in rows}
    if len({Path(path).name for path in paths}) == len(paths):
        for row in rows:
            row["report"] = Path(row["report"]).name


def _print(ranked: Sequence[Row], console: Console) -> None:
    for task in dict.fromkeys(_task(row) for row in ranked):
        own = [row for row in ranked if _task(row) == task]
        split, protocol, fingerprint = task
        title = f"{split}, {protocol} protocol, {own[0]['rows']:,} images, data {fingerprint[:8]}"
        table = Table("#", "report", "checkpoint", title=title, title_justify="left")
        for heading in ("accuracy %", "95 % interval", "leak-free", "macro-F1"):
            table.add_column(heading, justify="right", no_wrap=True)
        for row in own:
            table.add_row(
                str(row["rank"]),
                row["report"],
                row["checkpoint"] + (f" ({row['tta']})" if row["tta"] != "none" else ""),
                hundred(row["accuracy"]),
                f"{hundred(row['accuracy_low'])} – {hundred(row['accuracy_high'])}",
                hundred(row["accuracy_leak_free"]),
                number(row["macro_f1"]),
            )
        console.print(table)


def _write(folder: str, files: dict[str, bytes]) -> None:
    path = Path(folder)
    if path.exists() and (not path.is_dir() or any(entry.name not in files for entry in path.iterdir())):
        raise UserError(f"{folder} holds something other than a ranking: choose another --out")
    path.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        temporary = path.parent / f".writing-{path.name}-{name}"
        temporary.write_bytes(content)
        temporary.rename(path / name)
