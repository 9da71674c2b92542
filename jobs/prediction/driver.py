"""The driver of a prediction: check the input, score with Ray Data, write the page."""

from functools import partial

from rich.console import Console

from fer_data.commands import counted
from fer_data.storage import absolute, redacted
from jobs.evaluation.report_folder import ReportFolder, check_target
from jobs.evaluation.scoring.progress import print_warnings
from jobs.prediction.options import PredictOptions
from jobs.prediction.request import PredictionRequest
from jobs.prediction.units import PICTURED, read_faces, units_of
from jobs.prediction.writer import write_page


def predict(options: PredictOptions, console: Console) -> str:
    """Score pictures as `options` say, or resume an interrupted run; the absolute path of the predictions.

    Raises UserError for bad input and for storage that fails, without leaving predictions.
    """
    target = absolute(options.out)
    check_target(target, options.overwrite)
    request = PredictionRequest.from_options(options)
    pictures, units = request.pictures, units_of(request.pictures.pieces)
    with ReportFolder(target, request.key, overwrite=options.overwrite) as folder:
        remaining = [unit for unit in units if not folder.has(unit, len(request.contenders), corruptions=False)]
        left = sum(unit.rows for unit in remaining)
        who = ", ".join(contender.label for contender in request.contenders)
        console.out(f"{who} on {counted(pictures.images, 'picture')} of {redacted(pictures.uri)}")
        for reason, count in pictures.left_out.items():
            console.out(f"left out: {counted(count, 'file')}, {reason}")
        if left < pictures.images:
            console.out(f"resuming: {counted(pictures.images - left, 'picture')} scored already")
        about = folder.recall()
        if remaining:
            # It takes seconds to import, and is needed only if there is something to score.
            from jobs.evaluation.scoring.run import score_into

            about = score_into(
                folder,
                remaining,
                partial(read_faces, detect=options.faces == "detect"),
                options,
                request.contenders,
                console,
                schema=PICTURED,
                # Decoding pictures, and looking for faces, takes longer than the networks do.
                readers=lambda pool: pool.workers * (1 if pictures.are_faces else pool.cpus),
            )
        print_warnings(about, console)
        write_page(request, units, about, folder, console)
        folder.publish(units)
    return target
