"""The driver of an evaluation: check the input, score with Ray Data, write the report."""

import time
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from fer_data.commands import counted, stop_checked
from fer_data.storage import absolute
from fer_models.quiet_stderr import without_lines
from jobs.evaluation.copying import CopyMarker
from jobs.evaluation.options import EvaluateOptions
from jobs.evaluation.report.writer import write_report
from jobs.evaluation.report_folder import ReportFolder, check_target
from jobs.evaluation.request import Request
from jobs.evaluation.scoring.contenders import KERAS_KINDS, trained_on
from jobs.evaluation.scoring.progress import ScoringProgress
from jobs.evaluation.scoring.shards import Shard


def evaluate(options: EvaluateOptions, console: Console) -> str:
    """Score and report as `options` say, or resume an interrupted run; the absolute path of the report.

    Raises UserError for bad input and for storage that fails, without leaving a report.
    """
    target = absolute(options.out or "")
    check_target(target, options.overwrite)
    request = Request.from_options(options, console)
    with ReportFolder(target, request.key, overwrite=options.overwrite) as folder:
        remaining = [
            shard
            for shard in request.shards
            if not folder.has(shard, len(request.contenders), corruptions=options.corruptions)
        ]
        images, left = (sum(shard.rows for shard in shards) for shards in (request.shards, remaining))
        one = len(request.contenders) == 1
        what = request.contenders[0].label if one else f"{len(request.contenders)} checkpoints"
        console.out(f"{what} on {counted(images, 'image')} of {', '.join(options.split)}, {request.dataset.name}")
        if request.dataset.manifest.rows("training") and not request.dataset.manifest.near_copies:
            console.out(
                "near copies were not looked for: prepare the data with jobs/prepare_data.py --near-copies on to get "
                "figures on unseen photographs"
            )
        if left < images:
            console.out(f"resuming: {images - left:,} images are scored already")
        about = _score(request, remaining, folder, console) if remaining else folder.recall()
        _warn(request, about, console)
        write_report(request, about, folder, console)
        folder.publish(request.shards)
    return target


def _warn(request: Request, about: dict[str, Any], console: Console) -> None:
    """Print the warnings of the actors, and which contenders were trained on the rows that they are evaluated on."""
    for name, warnings in about.get("warnings", {}).items():
        for warning in warnings:
            console.out(f"warning: {name}: {warning}")
    for contender in request.contenders:
        for split in trained_on(contender, request.options.split, request.options.protocol):
            console.out(
                f"warning: {contender.label} was trained on images of {split}: its metrics there do not show how it "
                "does on new images"
            )


def _score(request: Request, remaining: Sequence[Shard], folder: ReportFolder, console: Console) -> dict[str, Any]:
    """Score the `remaining` shards into `folder`; what the actors report about the contenders, and the speed."""
    # These take seconds to import, and are needed only if there is something to score.
    import ray

    from cluster.connect import connect
    from cluster.ray_internals import RESTARTS_MAY_FAIL
    from jobs.evaluation.scoring.actor import ScoringTask
    from jobs.evaluation.scoring.corruptions import CORRUPTIONS, STRENGTHS
    from jobs.evaluation.scoring.networks import Arithmetic
    from jobs.evaluation.scoring.pipeline import score
    from jobs.evaluation.scoring.placement import find_room
    from jobs.gpus import are_rehearsed, check_gpus

    options = request.options
    connect()
    pool = find_room(options, request.contenders, console.out)
    if pool.gpus and any(contender.kind in KERAS_KINDS for contender in request.contenders):
        check_gpus(ray.nodes(), pool.gpus, console.out)
    gpus = f" and {pool.gpus:g} GPU{'s' * (pool.gpus > 1)}" if pool.gpus else ""
    console.out(f"{counted(pool.workers, 'worker')} of {counted(pool.cpus, 'CPU')}{gpus} each")
    task = ScoringTask(
        absolute(options.out or "").rpartition("/")[2],
        request.contenders,
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
        options.corruptions,
        options.stall_timeout,
    )
    marker = CopyMarker(request.dataset, options.protocol)
    by_index = {shard.index: shard for shard in remaining}
    about: dict[str, Any] = {}
    peaks: dict[int, float] = {}
    images = sum(shard.rows for shard in remaining)
    passes = request.models * (1 + len(CORRUPTIONS) * len(STRENGTHS) * options.corruptions)
    started = time.monotonic()
    with (
        stop_checked() as check_stop,
        without_lines(RESTARTS_MAY_FAIL),
        ScoringProgress(console, images, passes=passes) as progress,
    ):
        for scored in score(request.dataset, remaining, task, pool, progress.hear):
            check_stop()
            shard = by_index[scored.shard]
            told = {
                "parameters": scored.about.parameters,
                "warnings": _merged(about.get("warnings", {}), scored.about.warnings),
            }
            if told != about:
                about = told
                folder.remember(about)
            folder.keep(shard, marker.marked(shard, scored.predictions), scored.corrupted)
            peaks[scored.about.pid] = scored.about.peak_mib
            progress.advance(shard.rows)
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
