"""Predict the expressions in pictures without labels, however many: a row for each face, and a page of what was found.

    python jobs/predict.py pictures --checkpoint fer_models/released --out predictions/mine
    python jobs/predict.py photographs.zip --checkpoint runs/a/best runs/b/best --faces detect --out predictions/both
    ray job submit --working-dir . -- python jobs/predict.py s3://bucket/pictures --checkpoint s3://bucket/a ...

After an interruption, the same command resumes. It prints how many faces have which class, and the paths of the
predictions: report.html for people and Parquet tables for programs. A picture that cannot be read has a row too, with
the error.
"""

from collections.abc import Sequence

from fer_data.commands import exit_with_code
from jobs.command_line import parse
from jobs.console import PlainConsole
from jobs.prediction.options import PredictOptions


def main(argv: Sequence[str] | None = None) -> None:
    """Predict, and print the counts and the paths."""
    options = parse(PredictOptions, argv, description=__doc__)
    # These take seconds to import, so the options are checked first.
    from jobs.prediction.driver import predict

    console = PlainConsole()
    predictions = predict(options, console)
    console.out(f"page {predictions}/report.html", f"tables {predictions}/predictions/*.parquet", sep="\n")


if __name__ == "__main__":
    exit_with_code(main)
