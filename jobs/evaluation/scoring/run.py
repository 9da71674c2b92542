"""Score images into the folder of a report: find room on the cluster, start the workers, keep what comes back."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import ray
from rich.console import Console

from cluster.connect import connect
from cluster.ray_internals import RESTARTS_MAY_FAIL
from fer_data.commands import counted, stop_checked
from fer_models.quiet_stderr import without_lines
from jobs.evaluation.options import NetworkOptions
from jobs.evaluation.predictions import SCORED
from jobs.evaluation.report_folder import ReportFolder
from jobs.evaluation.scoring.actor import ScoringTask
from jobs.evaluation.scoring.contenders import ENSEMBLE, KERAS_KINDS, Contender
from jobs.evaluation.scoring.corruptions import CORRUPTIONS, STRENGTHS
from jobs.evaluation.scoring.networks import Arithmetic
from jobs.evaluation.scoring.pipeline import score
from jobs.evaluation.scoring.placement import Pool, find_room
from jobs.evaluation.scoring.progress import ScoringProgress
from jobs.evaluation.scoring.ray_source import AnyUnit, Read
from jobs.gpus import are_rehearsed, check_gpus


def score_into(
    folder: ReportFolder,
    units: Sequence[AnyUnit],
    read: Read[AnyUnit],
    options: NetworkOptions,
    contenders: tuple[Contender, ...],
    console: Console,
    *,
    finished: Callable[[AnyUnit, pa.Table], pa.Table] = lambda _, scored: scored,
    corruptions: bool = False,
    schema: pa.Schema = SCORED,
    readers: Callable[[Pool], int] = lambda pool: pool.workers,
) -> dict[str, Any]:
    """Score `units`, which `read` reads, into `folder`; what the actors report about the contenders, and the speed.

    Predictions have the `schema`, and are kept as `finished` returns them. `readers` says how many units are read at
    once. Raises UserError as `find_room` and `score` do.
    """
    connect()
    pool = find_room(options, contenders, console.out)
    if pool.gpus and any(contender.kind in KERAS_KINDS for contender in contenders):
        check_gpus(ray.nodes(), pool.gpus, console.out)
    gpus = f" and {pool.gpus:g} GPU{'s' * (pool.gpus > 1)}" if pool.gpus else ""
    console.out(f"{counted(pool.workers, 'worker')} of {counted(pool.cpus, 'CPU')}{gpus} each")
    task = ScoringTask(
        folder.name,
        contenders,
        Arithmetic(
            pool.cpus,
            options.precision,
            options.classes,
            gpu=bool(pool.gpus) and not are_rehearsed(ray.nodes()),
            class_names=options.class_names,
            input_range=options.input_range,
        ),
        options.batch_size,
        options.tta,
        corruptions,
        options.stall_timeout,
        schema,
    )
    by_index = {unit.index: unit for unit in units}
    about: dict[str, Any] = {}
    peaks: dict[int, float] = {}
    images = sum(unit.rows for unit in units)
    networks = sum(contender.kind != ENSEMBLE for contender in contenders)
    passes = networks * (1 + len(CORRUPTIONS) * len(STRENGTHS) * corruptions)
    started = time.monotonic()
    with (
        stop_checked() as check_stop,
        without_lines(RESTARTS_MAY_FAIL),
        ScoringProgress(console, images, passes=passes) as progress,
    ):
        for scored in score(read, units, task, pool, readers=readers(pool), hear=progress.hear):
            check_stop()
            unit = by_index[scored.unit]
            told = {
                "parameters": scored.about.parameters,
                "warnings": _merged(about.get("warnings", {}), scored.about.warnings),
            }
            if told != about:
                about = told
                folder.remember(about)
            folder.keep(unit, finished(unit, scored.predictions), scored.corrupted)
            peaks[scored.about.pid] = scored.about.peak_mib
            progress.advance(unit.rows)
    about["scoring"] = {
        "images": images,
        "seconds": round(time.monotonic() - started, 3),
        "images_per_second": round(progress.rate(), 1),
        "workers": pool.workers,
        "cpus_per_worker": pool.cpus,
        "gpus_per_worker": pool.gpus,
        "actor_peak_mib": round(max(peaks.values()), 1),
    }
    return about


def _merged(known: dict[str, list[str]], more: dict[str, list[str]]) -> dict[str, list[str]]:
    """The warnings of several actors, or of one actor at several times, each once."""
    both = {name: [*known.get(name, ()), *more.get(name, ())] for name in {**known, **more}}
    return {name: list(dict.fromkeys(warnings)) for name, warnings in both.items()}
