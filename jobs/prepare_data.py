"""Prepare FER-2013, or pictures in class folders, as the Parquet folder that every job reads.

    python jobs/prepare_data.py fer2013.zip --out data/fer2013
    python jobs/prepare_data.py my_pictures --out data/mine --resize --split-shares 0.8 0.1 0.1

The first takes about 4 seconds on 2 cores for the 32,298 images of that zip, and a minute more to look for near
copies. It prints the rows by usage and class, the audit, and the reasons for which a file or row was left out.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

import tyro
from rich.table import Table

from cluster.ray_internals import RESTARTS_MAY_FAIL
from fer_data.audit import COPIES, Finding
from fer_data.class_maps import class_map
from fer_data.commands import check, counted, exit_with_code
from fer_data.division import Division
from fer_data.emotions import CLASSES
from fer_data.faces.photographs import LargestFace
from fer_data.manifest import REJECTED, Manifest
from fer_data.parallel import Run, run_on_threads
from fer_data.prepare import MAX_REJECTED, prepare, rejected_reasons
from fer_data.votes import read_votes
from fer_models.quiet_stderr import without_lines
from jobs.command_line import parse
from jobs.console import PlainConsole
from jobs.data import search_progress


@dataclass(frozen=True)
class PrepareOptions:
    """What to prepare, and where."""

    raw: Annotated[str, tyro.conf.Positional]
    """Class folders, with or without train and test around them, or a CSV; either in a zip or tar.gz. A path or URI."""
    out: str
    """Folder for the prepared data set."""
    resize: bool = False
    """Admit images of any size and colour (centre square, area interpolation, grey), and TIFF, BMP, WebP and GIF."""
    detect_faces: bool = False
    """Take the largest face in each image, found and cropped as `live` does; as with --resize, of any size and kind."""
    if_no_face: Literal["reject", "whole"] = "reject"
    """With --detect-faces, what becomes of an image without a face. whole: its centre square is taken."""
    if_several_faces: Literal["largest", "reject"] = "largest"
    """With --detect-faces, what becomes of an image with several faces."""
    class_map: str | None = None
    """Names or numbers of the classes: affectnet, raf-db, ck+, jaffe, fer+, fer2013, or a TOML file of lines such as
    7 = "ignore"."""
    ignore_class: tuple[str, ...] = ()
    """Names of classes to leave out, such as contempt."""
    labels: str | None = None
    """FER+'s fer2013new.csv, for FER-2013's CSV: labels by the majority of ten annotators, whose votes are kept."""
    split_shares: tuple[float, ...] = ()
    """Divide images of which nothing says what they are for: the shares of training, public test (which validates) and,
    if there are three, private test. Copies stay together."""
    split_seed: int = 0
    """Seed of that division."""
    group_by: str | None = None
    """Keep the images of a person together: a regular expression that finds the person in a file's name or path, by its
    first group or as a whole."""
    max_rejected: float = MAX_REJECTED
    """Largest fraction of rows that may be unusable."""
    workers: int | None = None
    """Work on this many CPUs of a Ray cluster (RAY_ADDRESS, else a local one) instead of on this machine."""
    near_copies: Literal["auto", "on", "off"] = "auto"
    """Look for images that show the same photograph. auto: among up to 70,000 images, which takes two minutes."""
    overwrite: bool = False
    """Replace the data set in the folder."""

    def __post_init__(self) -> None:
        check(0 <= self.max_rejected <= 1, "--max-rejected must be in 0 to 1", self.max_rejected)
        check(self.group_by is None or bool(self.split_shares), "--group-by needs --split-shares", self.group_by)
        self.division()
        for option, chosen, default in (
            ("--if-no-face", self.if_no_face, "reject"),
            ("--if-several-faces", self.if_several_faces, "largest"),
        ):
            check(self.detect_faces or chosen == default, f"{option} needs --detect-faces", chosen)
        check(self.workers is None or self.workers >= 1, "--workers must be 1 or more", self.workers)

    def division(self) -> Division | None:
        """How to divide the images, if that is asked for."""
        return Division(self.split_shares, self.split_seed, self.group_by) if self.split_shares else None

    def faces(self) -> LargestFace | None:
        """How to find the faces in photographs, if that is asked for."""
        return LargestFace(self.if_no_face, self.if_several_faces) if self.detect_faces else None


def main(argv: Sequence[str] | None = None) -> None:
    """Prepare, and print the counts, the audit and the rejected rows."""
    options = parse(PrepareOptions, argv, description=__doc__)
    run: Run = run_on_threads
    if options.workers is not None:
        from jobs.ray_parallel import run_on_ray  # Ray takes a second to import.

        run = partial(run_on_ray, workers=options.workers)
    console = PlainConsole()
    # LiteRT, which looks for faces, announces itself; Ray fears for restarts, whose arguments `run_on_ray` keeps.
    dropped = ["INFO: "] * options.detect_faces + [RESTARTS_MAY_FAIL] * (options.workers is not None)
    with without_lines(*dropped) if dropped else nullcontext(), search_progress(console) as progress:
        dataset = prepare(
            options.raw,
            options.out,
            resize=options.resize,
            classes=class_map(options.class_map, options.ignore_class),
            division=options.division(),
            votes=None if options.labels is None else read_votes(options.labels),
            faces=options.faces(),
            max_rejected=options.max_rejected,
            run=run,
            near_copies=options.near_copies,
            progress=progress,
            overwrite=options.overwrite,
        )
    console.print(counts_table(dataset.manifest))
    console.print(audit_table(dataset.manifest.audit))
    if line := copies_between(dataset.manifest.audit):
        console.out(line)
    rejected = rejected_reasons(dataset)
    if missing := dataset.manifest.classes_without_images():
        console.out(f"warning: no image of {', '.join(missing)}")
    console.out(f"Rejected rows: {dataset.manifest.rejected:,}" + (f" ({REJECTED} names them)" if rejected else ""))
    if options.ignore_class and not any(reason.endswith("which is ignored") for reason, _ in rejected):
        console.out(f"warning: --ignore-class {' '.join(options.ignore_class)}: no image is of such a class")
    for reason, count in rejected[:10]:
        console.out(f"  {counted(count, 'row')}: {reason}")
    console.out(f"Prepared in {dataset.uri} (fingerprint {dataset.manifest.fingerprint})")


def counts_table(manifest: Manifest) -> Table:
    """Rows by class and usage."""
    table = Table("class", title=f"Rows of {manifest.source}", title_justify="left")
    for usage in manifest.counts:
        table.add_column(usage, justify="right")
    for label in CLASSES:
        table.add_row(label, *(f"{manifest.counts[usage][label]:,}" for usage in manifest.counts))
    table.add_section()
    table.add_row("all", *(f"{manifest.rows(usage):,}" for usage in manifest.counts))
    return table


def audit_table(audit: Sequence[Finding]) -> Table:
    """One row per check, one column per usage."""
    usages = [*dict.fromkeys(finding.usage for finding in audit if finding.usage != "all"), "all"]
    table = Table("check", title="Audit", title_justify="left")
    for usage in usages:
        table.add_column(usage, justify="right")
    for title in dict.fromkeys(finding.check for finding in audit):
        counts = {finding.usage: f"{finding.count:,}" for finding in audit if finding.check == title}
        table.add_row(title, *(counts.get(usage, "") for usage in usages))
    return table


def copies_between(audit: Sequence[Finding]) -> str | None:
    """Why the redundant copies of the usages are fewer than those of all rows; None if they are not."""
    counts = {finding.usage: finding.count for finding in audit if finding.check == COPIES}
    within = sum(count for usage, count in counts.items() if usage != "all")
    between = counts.get("all", 0) - within
    if not between:
        return None
    return f"{COPIES}: {within:,} within a usage + {between:,} between usages = {counts['all']:,}"


if __name__ == "__main__":
    exit_with_code(main)
