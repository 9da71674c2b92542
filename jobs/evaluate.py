"""Score any number of checkpoints on the images of a split, and report which is best, how good it is and how certain.

    python jobs/evaluate.py --checkpoint runs/a/best runs/b/best --data fer2013.zip --split test --out reports/ab
    python jobs/evaluate.py --checkpoint original=CNNMODELfinal.keras mine=runs/a/best --data fer2013.zip \\
        --split public_test --ensemble --corruptions --out reports/robust
    python jobs/evaluate.py --compare reports/*
    ray job submit --working-dir . -- python jobs/evaluate.py --checkpoint s3://bucket/a --data s3://bucket/fer2013 ...

Two checkpoints on the 3,589 images of the public test take half a minute on 2 cores. Without --data it scores the
built-in drawn faces. After an interruption, the same command resumes. It prints the main figures and the paths of the
report: report.html for people and Parquet tables for programs.
"""

from collections.abc import Sequence

from fer_data.commands import exit_with_code
from jobs.command_line import parse
from jobs.console import PlainConsole
from jobs.evaluation.options import EvaluateOptions


def main(argv: Sequence[str] | None = None) -> None:
    """Score and report, or rank finished reports."""
    options = parse(EvaluateOptions, argv, description=__doc__)
    console = PlainConsole()
    if options.compare:
        from jobs.evaluation.report.leaderboard import compare

        ranking = compare(options.compare, options.out, console)
        console.out(f"page {ranking}/leaderboard.html", f"tables {ranking}/leaderboard.parquet, .csv", sep="\n")
        return
    # Ray takes seconds to import, so the options are checked first.
    from jobs.evaluation.driver import evaluate

    report = evaluate(options, console)
    console.out(f"report {report}/report.html", f"tables {report}/*.parquet", sep="\n")


if __name__ == "__main__":
    exit_with_code(main)
