"""report.html: the whole report in one file that needs no network."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fer_data.emotions import CLASSES
from fer_models.metrics import METRICS
from jobs.evaluation.report import schemas
from jobs.evaluation.report.examples import SUSPICIOUS, Example
from jobs.evaluation.report.pairs import Pair
from jobs.evaluation.report.plots import face
from jobs.evaluation.report.ranking import Row, on_unseen, ranked
from jobs.evaluation.report.wording import (
    Labels,
    absent_classes,
    against_best,
    ahead_first,
    averaged,
    hundred,
    number,
    on_unseen_if_known,
    p_value,
    percent,
    seen_in_training,
)
from jobs.page import environment, picture

_NOT_LOOKED_FOR = (
    "Near copies of training images were not looked for. To get the figures on unseen photographs, prepare the data "
    "again with jobs/prepare_data.py --near-copies on."
)
_NO_TRAINING = "The data set has no training images with which these images could be compared."


@dataclass(frozen=True)
class Gallery:
    """Examples with their images, uint8 [48, 48] each, under a title and an explanation."""

    title: str
    text: str
    examples: Sequence[Example]
    images: Sequence[np.ndarray]


def mistakes_gallery(label: str, split: str, examples: Sequence[Example], images: Sequence[np.ndarray]) -> Gallery:
    """The most confident mistakes of one checkpoint."""
    return Gallery(
        f"Most confident mistakes of {label}, {split}",
        "Below each face: the predicted class and its probability, then the annotated class and its probability.",
        examples,
        images,
    )


def suspects_gallery(
    models: int, split: str, total: int, examples: Sequence[Example], images: Sequence[np.ndarray]
) -> Gallery:
    """Images whose label may be wrong, the first of `total`."""
    several = "Both checkpoints assign" if models == 2 else f"All {models} checkpoints assign"
    who = "The checkpoint assigns" if models == 1 else several
    more = f" The first {len(examples)} of {total:,}; all are in suspects.parquet." if total > len(examples) else ""
    return Gallery(
        f"Suspected label errors, {split}",
        f"{who} these images to the same other class with a probability of {SUSPICIOUS:.0%} or more. The annotation "
        f"may be wrong. Below the annotated class: its highest probability; below the predicted one: its lowest.{more}",
        examples,
        images,
    )


def render(
    *,
    run: Mapping[str, Any],
    tables: Mapping[str, pa.Table],
    labels: Labels,
    plots: Mapping[str, bytes],
    galleries: Sequence[Gallery],
    suspects: Sequence[Gallery],
    pairs: Mapping[str, Sequence[Pair]],
    trained: bool,
) -> str:
    """The page. Names and paths are escaped, whatever they contain.

    `pairs` has near copies by split; `trained` says whether the data set has training images.
    """
    pages = environment(Path(__file__).parent)
    pages.filters |= {
        "percent": percent,
        "hundred": hundred,
        "number": number,
        "p_value": lambda value: "–" if value is None else p_value(value),
        "points": lambda value: "–" if value is None else f"{100 * value:+.2f}",
    }
    splits, comparisons = list(run["splits"]), tables["comparisons"].to_pylist()
    metrics, per_class = tables["metrics"].to_pylist(), tables["per_class"].to_pylist()
    copies = tables["copies"].to_pylist() if "copies" in tables else []
    data = run["data"]
    return pages.get_template("report.html.j2").render(
        title=f"{len(labels)} checkpoint{'' if len(labels) == 1 else 's'} on {', '.join(splits)}",
        subtitle=f"{data['source']} (fingerprint {data['fingerprint']}), {run['protocol']} protocol"
        + averaged(run["tta"]),
        summaries=[
            _summary(split, metrics, comparisons)
            | {"seen": _seen(split, copies, trained), "absent": absent_classes(split, per_class)}
            for split in splits
        ],
        splits=splits,
        labels=labels,
        metrics=metrics,
        columns_shown=_columns_shown(metrics),
        comparisons=[ahead_first(row) for row in comparisons],
        compared_on_unseen=any(row["rows_unseen"] for row in comparisons),
        memory=_memory(splits, labels, copies),
        pairs={split: [_pair_shown(pair) for pair in found] for split, found in pairs.items() if found},
        parameters=run.get("parameters", {}),
        sections=_sections(splits, plots),
        galleries=[_shown(gallery) for gallery in galleries],
        suspects=[_shown(gallery) for gallery in suspects],
        classes=CLASSES,
        columns={
            f"{name}.parquet" if name != "predictions" else "predictions/*.parquet": [
                {"name": field.name, "type": str(field.type), "meaning": schemas.meaning(field)} for field in schema
            ]
            for name, schema in schemas.TABLES.items()
            if name == "predictions" or name in tables
        },
        run=json.dumps({key: value for key, value in run.items() if key != "scoring"}, indent=1),
    )


def _summary(split: str, metrics: Sequence[Row], comparisons: Sequence[Row]) -> dict[str, Any]:
    """The first screen for a split: its checkpoints, the best first, and how sure it is that the best is best."""
    rows = ranked([row for row in metrics if row["split"] == split])
    unseen = on_unseen(rows)
    own = [row for row in comparisons if row["split"] == split]
    if unseen:  # The verdicts are on the images by which the checkpoints are ranked.
        own = [on_unseen_if_known(row) for row in own]
    best = rows[0]["checkpoint"]
    beaten = sum(row["better"] == best for row in own)
    others = f"{beaten} of {len(rows) - 1} other checkpoints" if 0 < beaten < len(rows) - 1 else "any other checkpoint"
    certainty = f"{'Significantly' if beaten else 'Not significantly'} better than {others}"
    verdicts = {row["checkpoint"]: against_best(best, row["checkpoint"], own) for row in rows[1:]}
    return {"split": split, "rows": rows, "unseen": unseen, "certainty": certainty, "verdicts": verdicts}


def _seen(split: str, copies: Sequence[Row], trained: bool) -> str:
    """How much of the split was in the training images, as a sentence."""
    if not trained:
        return _NO_TRAINING
    # The kinds of images are the same for every checkpoint.
    rows = {row["kind"]: row["rows"] for row in copies if row["split"] == split}
    if not rows:
        return _NOT_LOOKED_FOR
    images = rows["unseen"] + rows["exact"] + rows["near"]
    return seen_in_training(images, rows["exact"], rows["near"])


def _memory(splits: Sequence[str], labels: Labels, copies: Sequence[Row]) -> list[dict[str, Any]]:
    """For each split with copies and each checkpoint, the accuracy by kind of image."""
    tables = []
    for split in splits:
        for name, label in labels.items():
            rows = [row for row in copies if row["split"] == split and row["checkpoint"] == name]
            if any(row["rows"] for row in rows if row["kind"] != "unseen"):
                title = f"{label}, {split}" if len(splits) > 1 else label
                tables.append({"title": title, "rows": rows})
    return tables


def _columns_shown(metrics: Sequence[Row]) -> list[dict[str, Any]]:
    """The columns of the page's table of metrics: those with a title, then their like on each subset that is known."""
    shown = [(metric, metric.name, metric.title) for metric in METRICS.values() if metric.title]
    shown += [
        (metric, schemas.column_in(subset, metric.name), f"{subset.replace('_', '-')} {metric.title}")
        for subset in schemas.SUBSETS
        if any(row[f"rows_{subset}"] is not None for row in metrics)
        for metric, _, _ in shown
        if metric.in_subsets
    ]
    return [
        {
            "name": column,
            "title": title,
            "filter": percent if metric.percent else number,
            "interval": f"{column}_low" in schemas.METRICS.names,
            "meaning": schemas.meaning(schemas.METRICS.field(column)),
        }
        for metric, column, title in shown
    ]


def _sections(splits: Sequence[str], plots: Mapping[str, bytes]) -> list[dict[str, Any]]:
    """The plots of each split, those with all checkpoints first."""
    titles = {
        "side_by_side": ("Side by side.", "Dots with 95 % intervals. The legend says what the rings are."),
        "per_class": ("By class.", "Bars with 95 % intervals. Below each class: its number of images."),
        "confidence": ("Accuracy against confidence.", ""),
        "robustness": ("Under corruptions.", ""),
        "confusion": ("Confusion matrix.", ""),
        "reliability": ("Calibration.", ""),
    }
    sections = []
    for split in splits:
        shown = [
            {"title": title, "text": text, "alt": f"{title} {name}", "png": picture(plots[name])}
            for kind, (title, text) in titles.items()
            for name in plots
            if name.startswith((f"{kind}-{split}.", f"{kind}-{split}-"))
        ]
        if shown:
            sections.append({"title": f"Figures, {split}" if len(splits) > 1 else "Figures", "plots": shown})
    return sections


def _shown(gallery: Gallery) -> dict[str, Any]:
    faces = zip(gallery.examples, [picture(face(image)) for image in gallery.images], strict=True)
    return {"title": gallery.title, "text": gallery.text, "faces": list(faces)}


def _pair_shown(pair: Pair) -> dict[str, Any]:
    return {
        "images": [
            {"id": pair.image_id, "label": CLASSES[pair.label], "png": picture(face(pair.pixels))},
            {"id": pair.twin_id, "label": CLASSES[pair.twin_label], "png": picture(face(pair.twin_pixels))},
        ],
        "correlation": f"{pair.correlation:.2f}",
        "mirrored": pair.mirrored,
    }
