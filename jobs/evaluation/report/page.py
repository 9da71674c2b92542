"""report.html: everything in one file that needs no network."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pyarrow as pa

from fer_data.emotions import CLASSES
from jobs.evaluation.report import schemas
from jobs.evaluation.report.examples import SUSPICIOUS, Example
from jobs.evaluation.report.plots import face
from jobs.evaluation.report.wording import number, p_value, percent, verdict


@dataclass(frozen=True)
class Gallery:
    """A title, what is to be seen, the examples, and their images, uint8 [48, 48] each."""

    title: str
    text: str
    examples: Sequence[Example]
    images: Sequence[np.ndarray]


def mistakes_gallery(label: str, split: str, examples: Sequence[Example], images: Sequence[np.ndarray]) -> Gallery:
    """The mistakes that one checkpoint was surest of."""
    return Gallery(
        f"Surest mistakes of {label}, {split}",
        "What it said and with what probability, then the annotation and the probability it gave that.",
        examples,
        images,
    )


def suspects_gallery(
    models: int, split: str, total: int, examples: Sequence[Example], images: Sequence[np.ndarray]
) -> Gallery:
    """Images whose label may be wrong."""
    who = "The checkpoint puts" if models == 1 else f"All {models} checkpoints put"
    more = f" The first {len(examples)} of {total:,}; all are in suspects.parquet." if total > len(examples) else ""
    return Gallery(
        f"Suspected label errors, {split}",
        f"{who} these into one other class with a probability of {SUSPICIOUS:.0%} or more: people may have "
        f"annotated them wrongly.{more}",
        examples,
        images,
    )


def render(
    *,
    run: Mapping[str, Any],
    tables: Mapping[str, pa.Table],
    labels: Mapping[str, str],
    plots: Mapping[str, bytes],
    galleries: Sequence[Gallery],
) -> str:
    """The page. Whatever names and paths hold, it is shown as text."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {
        "percent": percent,
        "number": number,
        "p_value": lambda value: "–" if value is None else p_value(value),
        "points": lambda value: "–" if value is None else f"{100 * value:+.2f}",
        "signed": lambda value: "–" if value is None else f"{value:+.3f}",
    }
    splits, comparisons = list(run["splits"]), tables["comparisons"].to_pylist()
    metrics = tables["metrics"].to_pylist()
    data = run["data"]
    return environment.get_template("report.html.j2").render(
        title=f"{_count(len(labels), 'checkpoint')} on {', '.join(splits)}",
        subtitle=f"{data['source']} (fingerprint {data['fingerprint']}), {run['protocol']} protocol"
        + (f", averaged over the views of {run['tta']}" if run["tta"] != "none" else ""),
        verdicts=[verdict(row, labels) for row in comparisons if _concerns_the_best(row, metrics)]
        or [f"{row['split']}: {labels[row['checkpoint']]} is right on {percent(row['accuracy'])}" for row in metrics],
        splits=splits,
        labels=labels,
        metrics=metrics,
        comparisons=comparisons,
        parameters=run.get("parameters", {}),
        sections=_sections(splits, plots),
        galleries=[_shown(gallery) for gallery in galleries],
        columns={
            f"{name}.parquet" if name != "predictions" else "predictions/*.parquet": [
                {"name": field.name, "type": str(field.type), "meaning": schemas.meaning(field)} for field in schema
            ]
            for name, schema in schemas.TABLES.items()
            if name == "predictions" or name in tables
        },
        run=json.dumps(
            {key: value for key, value in run.items() if key != "scoring"},
            indent=1,
        ),
    )


def _concerns_the_best(comparison: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the checkpoint with the highest accuracy on the split is one of the two."""
    own = [row for row in metrics if row["split"] == comparison["split"] and row["accuracy"] is not None]
    best = max(own, key=lambda row: row["accuracy"], default={"checkpoint": None})["checkpoint"]
    return best in (comparison["checkpoint_a"], comparison["checkpoint_b"])


def _sections(splits: Sequence[str], plots: Mapping[str, bytes]) -> list[dict[str, Any]]:
    titles = {
        "side_by_side": ("Side by side", "Dots with 95 % intervals; rings are the leak-free figures."),
        "per_class": ("By class", "Bars with 95 % intervals; under each class, how many images it has."),
        "confusion": ("Where wrong", ""),
        "reliability": ("How sure", ""),
        "confidence": ("Accuracy against confidence", ""),
        "robustness": ("Under corruptions", ""),
    }
    sections = []
    for kind, (title, text) in titles.items():
        for split in splits:
            names = [name for name in plots if name.startswith((f"{kind}-{split}.", f"{kind}-{split}-"))]
            shown = [{"alt": f"{title}: {name}", "png": _base64(plots[name])} for name in names]
            if shown:
                heading = f"{title}, {split}" if len(splits) > 1 else title
                sections.append({"title": heading, "text": text, "plots": shown})
    return sections


def _shown(gallery: Gallery) -> dict[str, Any]:
    faces = [
        {
            "png": _base64(face(image)),
            "image_id": example.image_id,
            "predicted": CLASSES[example.predicted],
            "label": CLASSES[example.label],
            "confidence": f"{example.confidence:.0%}",
            "p_label": f"{example.p_label:.0%}",
        }
        for example, image in zip(gallery.examples, gallery.images, strict=True)
    ]
    return {"title": gallery.title, "text": gallery.text, "faces": faces}


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _count(number_of: int, noun: str) -> str:
    return f"{number_of} {noun}{'' if number_of == 1 else 's'}"
