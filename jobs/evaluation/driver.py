"""The driver of an evaluation: check the input, score with Ray Data, write the report."""

from functools import partial
from typing import Any

from rich.console import Console

from fer_data.commands import counted
from fer_data.storage import absolute
from jobs.evaluation.copying import CopyMarker
from jobs.evaluation.options import EvaluateOptions
from jobs.evaluation.report.writer import write_report
from jobs.evaluation.report_folder import ReportFolder, check_target
from jobs.evaluation.request import Request
from jobs.evaluation.scoring.contenders import trained_on
from jobs.evaluation.scoring.progress import print_warnings
from jobs.evaluation.scoring.shards import read_shard


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
        about = folder.recall()
        if remaining:
            # It takes seconds to import, and is needed only if there is something to score.
            from jobs.evaluation.scoring.run import score_into

            marker = CopyMarker(request.dataset, options.protocol)
            about = score_into(
                folder,
                remaining,
                partial(read_shard, request.dataset),
                options,
                request.contenders,
                console,
                finished=marker.marked,
                corruptions=options.corruptions,
            )
        _warn(request, about, console)
        write_report(request, about, folder, console)
        folder.publish(request.shards)
    return target


def _warn(request: Request, about: dict[str, Any], console: Console) -> None:
    """Print the warnings of the actors, and which contenders were trained on the rows that they are evaluated on."""
    print_warnings(about, console)
    for contender in request.contenders:
        for split in trained_on(contender, request.options.split, request.options.protocol):
            console.out(
                f"warning: {contender.label} was trained on images of {split}: its metrics there do not show how it "
                "does on new images"
            )
