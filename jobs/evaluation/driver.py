"""The driver of an evaluation: input and folder first, then Ray Data, then tables, pictures and the page."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from fer_data.dataset import PreparedDataset
from fer_data.storage import absolute, redacted
from jobs.data import open_data
from jobs.evaluation.contenders import KERAS_KINDS, Contender, contenders_from, trained_on
from jobs.evaluation.options import EvaluateOptions
from jobs.evaluation.progress import ScoringProgress
from jobs.evaluation.publishing import write_report
from jobs.evaluation.request import describe, key_of
from jobs.evaluation.shards import Shard, check_labels, plan
from jobs.evaluation.workspace import Workspace, check_target


def evaluate(options: EvaluateOptions, console: Console) -> str:
    """Score and report as `options` say, or resume what was interrupted; the report's absolute path.

    Raises UserError for bad input and for storage that refuses, and leaves no report then.
    """
    target = absolute(options.out or "")
    check_target(target, options.overwrite)
    contenders = contenders_from(options.checkpoint, ensemble=options.ensemble)
    dataset = open_data(options.data, console)
    shards = plan(dataset, options.split, options.protocol)
    check_labels(dataset, shards)
    request = describe(options, contenders, dataset)
    with Workspace(target, key_of(request), overwrite=options.overwrite) as workspace:
        remaining = [
            shard for shard in shards if not workspace.has(shard, len(contenders), corruptions=options.corruptions)
        ]
        console.print(
            f"{_models(contenders)} on {sum(shard.rows for shard in shards):,} images of {', '.join(options.split)}, "
            f"{redacted(dataset.uri)}",
            highlight=False,
            soft_wrap=True,
        )
        if done := sum(shard.rows for shard in shards) - sum(shard.rows for shard in remaining):
            console.print(f"resuming: {done:,} images are scored already", highlight=False)
        about = workspace.recall()
        if remaining:
            about = _score(options, contenders, dataset, remaining, workspace, console)
        _warn(options, contenders, about, console)
        write_report(options, request, about, contenders, dataset, shards, workspace, console)
        workspace.publish(shards)
    return target


def _merged(about: dict[str, Any], warnings: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """The warnings in `about` and what another actor adds to them, or the same one later, each once."""
    known = about.get("warnings", {})
    both = {name: [*known.get(name, ()), *warnings.get(name, ())] for name in {**known, **warnings}}
    return {name: list(dict.fromkeys(told)) for name, told in both.items()}


def _warn(options: EvaluateOptions, contenders: Sequence[Contender], about: dict[str, Any], console: Console) -> None:
    """Tell what importing the checkpoints gave rise to, and which images they know already."""
    told = [f"{name}: {warning}" for name, warnings in about.get("warnings", {}).items() for warning in warnings]
    for contender in contenders:
        for split in trained_on(contender, options.split, options.protocol):
            told.append(f"{contender.label} was trained on images of {split}: its figures there say little")
    for warning in told:
        console.print(f"warning: {warning}", highlight=False, markup=False, soft_wrap=True)


def _models(contenders: Sequence[Contender]) -> str:
    return contenders[0].label if len(contenders) == 1 else f"{len(contenders)} checkpoints"


def _score(
    options: EvaluateOptions,
    contenders: tuple[Contender, ...],
    dataset: PreparedDataset,
    remaining: Sequence[Shard],
    workspace: Workspace,
    console: Console,
) -> dict[str, Any]:
    """Score what remains into the workspace; what the actors said about the checkpoints."""
    # Ray and its workers' code take seconds to import: once there is something to score.
    import ray

    from cluster.connect import connect
    from jobs.evaluation.networks import Arithmetic
    from jobs.evaluation.scorer import ScoringTask
    from jobs.evaluation.scoring import score, share_of
    from jobs.gpus import are_rehearsed, check_gpus

    def say(message: str) -> None:
        console.print(message, highlight=False, markup=False, soft_wrap=True)

    connect()
    share = share_of(options, contenders, say)
    if share.gpus and any(contender.kind in KERAS_KINDS for contender in contenders):
        check_gpus(ray.nodes(), share.gpus, say)
    gpus = f" and {share.gpus:g} GPU(s)" if share.gpus else ""
    say(f"{options.workers} worker(s) of {share.cpus} CPU(s){gpus} each")
    task = ScoringTask(
        absolute(options.out or "").rpartition("/")[2],
        contenders,
        Arithmetic(
            share.cpus, options.precision, options.classes, gpu=bool(share.gpus) and not are_rehearsed(ray.nodes())
        ),
        options.batch_size,
        options.tta,
        options.corruptions,
        options.stall_timeout,
    )
    by_index = {shard.index: shard for shard in remaining}
    about: dict[str, Any] = {}
    peaks: dict[int, float] = {}
    started = time.monotonic()
    with ScoringProgress(console, sum(shard.rows for shard in remaining)) as progress:
        for scored in score(dataset, remaining, task, options.workers, share):
            shard = by_index[scored.shard]
            told = {"parameters": scored.about.parameters, "warnings": _merged(about, scored.about.warnings)}
            if told != about:
                about = told
                workspace.remember(about)
            workspace.keep(shard, scored.predictions, scored.corrupted)
            peaks[scored.about.pid] = scored.about.peak_mib
            progress.advance(shard.rows)
    seconds = time.monotonic() - started
    about["scoring"] = {
        "images": sum(shard.rows for shard in remaining),
        "seconds": round(seconds, 3),
        "images_per_second": round(progress.rate(), 1),
        "workers": options.workers,
        "cpus_per_worker": share.cpus,
        "gpus_per_worker": share.gpus,
        "actor_peak_mib": round(max(peaks.values()), 1),
    }
    return about
