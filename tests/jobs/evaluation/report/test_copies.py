"""A report on a data set whose copies are known, from predictions made by hand."""

import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from fer_data.dataset import open_dataset
from fer_data.dataset_writer import write_dataset
from fer_data.emotions import CLASSES
from fer_data.near_copies.table import NO_COPIES, Copies
from fer_data.rows import rows_table
from fer_models.intervals import wilson
from jobs.evaluation.copying import CopyMarker
from jobs.evaluation.options import EvaluateOptions
from jobs.evaluation.predictions import PREDICTIONS, SCORED
from jobs.evaluation.report.pairs import near_copy_pairs
from jobs.evaluation.report.results import Predictions
from jobs.evaluation.report.writer import write_report
from jobs.evaluation.report_folder import ReportFolder
from jobs.evaluation.request import Request
from jobs.evaluation.scoring.contenders import Contender
from jobs.evaluation.scoring.shards import plan_shards

TRAINING = [0, 1, 2, 3, 4, 5]
TESTED = [0, 1, 5, 3, 6, 4, 2, 1]
"""The labels of the images training-i and public_test-i."""
KIND = ["exact", "near", "near", "near", "near", "", "", ""]
ROWS = pa.array(  # row, photograph, partner; the rows of public_test begin at 6.
    [
        *({"row": 0, "photograph": 0, "partner": 6}, {"row": 6, "photograph": 0, "partner": 0}),
        *({"row": 1, "photograph": 1, "partner": 7}, {"row": 7, "photograph": 1, "partner": 1}),
        *({"row": 2, "photograph": 2, "partner": 8}, {"row": 8, "photograph": 2, "partner": 2}),
        # The partner of public_test-3 and -4 is no training image.
        *({"row": 3, "photograph": 3, "partner": 9}, {"row": 9, "photograph": 3, "partner": 10}),
        {"row": 10, "photograph": 3, "partner": 9},
        # A photograph that is not in the training images.
        *({"row": 11, "photograph": 4, "partner": 12}, {"row": 12, "photograph": 4, "partner": 11}),
    ]
)
A = [0, 1, 2, 3, 3, 4, 0, 1]
"""Answers that repeat the labels of the training images, also where the image has another one."""
B = [6, 6, 6, 6, 5, 4, 2, 1]
"""Answers that are right on what was not in the training images."""


def copies(pixels, hashes):
    table = pa.Table.from_struct_array(ROWS).sort_by("row")
    row, photograph, partner = (table.column(name).to_numpy() for name in ("row", "photograph", "partner"))
    correlation = (1 - row / 100).astype(np.float32)
    return Copies(row, photograph, partner, correlation, row == 8)


class Written(NamedTuple):
    """A finished report: its folder, the data set, its predictions and what was printed."""

    folder: Path
    request: Request
    predictions: Predictions
    told: str


def data_set(path, *, known: bool = True, training: bool = True):
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (14, 48, 48), np.uint8)
    pixels[6] = pixels[0]
    tables = [
        rows_table([f"training-{i}" for i in range(6)], "training", np.array(TRAINING), pixels[:6]),
        rows_table([f"public_test-{i}" for i in range(8)], "public_test", np.array(TESTED), pixels[6:]),
    ]
    find = copies if training else NO_COPIES
    write_dataset(iter(tables[not training :]), str(path), "x", near_copies=find if known else None)
    return open_dataset(str(path))


def write(path, *, known: bool = True, training: bool = True, splits=("public_test",)) -> Written:
    """A report on the checkpoints a and b, which answer A and B, in public_test, and the truth in training."""
    dataset = data_set(path / "data", known=known, training=training)
    options = EvaluateOptions(checkpoint=("a", "b"), split=splits, out=str(path / "report"))
    contenders = tuple(Contender(name, name, "", "keras", name) for name in "ab")
    request = Request(options, contenders, dataset, tuple(plan_shards(dataset, splits, "challenge")))
    console = Console(width=80, record=True, file=io.StringIO())
    folder = ReportFolder(str(path / "report"), request.key, overwrite=False)
    marker = CopyMarker(dataset, "challenge")
    for shard in request.shards:
        answers = (A, B) if shard.group.usage == "public_test" else (TRAINING, TRAINING)
        table = pa.concat_tables(scored(dataset, shard, *answer) for answer in zip("ab", answers, strict=True))
        folder.keep(shard, marker.marked(shard, table), pa.table({}))
    write_report(request, {}, folder, console)
    return Written(folder.folder, request, Predictions(request, folder), console.export_text())


def scored(dataset, shard, name: str, answers) -> pa.Table:
    rows = dataset.read(shard.group, columns=("image_id", "usage", "label"))
    probabilities = np.full((shard.rows, 7), 0.02, np.float32)
    probabilities[np.arange(shard.rows), answers] = 0.88
    columns = [
        pa.array([name] * shard.rows),
        *(rows.column(column).combine_chunks() for column in ("image_id", "usage", "label")),
        pa.array(answers, pa.int8()),
        *(pa.array(probabilities[:, c]) for c in range(7)),
        pa.nulls(shard.rows, pa.string()),
    ]
    return pa.Table.from_arrays(columns, schema=SCORED)


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Written:
    return write(tmp_path_factory.mktemp("known"))


@pytest.fixture(scope="module")
def unknown(tmp_path_factory) -> Written:
    return write(tmp_path_factory.mktemp("unknown"), known=False)


def rows_of(report: Written, table: str) -> list[dict]:
    return pq.read_table(report.folder / f"{table}.parquet").to_pylist()


def test_predictions_say_which_images_are_copies(report):
    table = pq.read_table(report.folder / "predictions")
    assert table.schema.equals(PREDICTIONS, check_metadata=True)
    assert table.column("copy").to_pylist() == 2 * KIND
    want = [1.0, 0.93, 0.92, 0.91, 0.90, None, None, None]
    assert table.column("correlation").to_pylist() == pytest.approx(2 * want, abs=1e-6)


def test_without_a_search_for_near_copies_only_exact_copies_are_known(unknown):
    table = pq.read_table(unknown.folder / "predictions")
    assert table.column("copy").to_pylist() == 2 * (["exact"] + 7 * [None])
    assert table.column("correlation").to_pylist() == 2 * ([1.0] + 7 * [None])


def test_unseen_images_are_those_without_a_copy_in_training(report):
    a, b = rows_of(report, "metrics")
    assert (a["rows_unseen"], a["accuracy_unseen"]) == (3, pytest.approx(2 / 3))
    assert (b["rows_unseen"], b["accuracy_unseen"]) == (3, 1)
    assert (a["accuracy_unseen_low"], a["accuracy_unseen_high"]) == wilson(2, 3)
    assert (a["accuracy"], b["accuracy"]) == (5 / 8, 3 / 8)
    assert a["rows_leak_free"] == 7


def test_the_kinds_of_images_tell_memory_from_skill(report):
    found = {(row["checkpoint"], row["kind"]): (row["rows"], row["accuracy"]) for row in rows_of(report, "copies")}
    assert found == {
        ("a", "unseen"): (3, pytest.approx(2 / 3)),
        ("a", "exact"): (1, 1),
        ("a", "near"): (4, 0.5),
        ("a", "near, same label"): (2, 1),
        ("a", "near, another label"): (2, 0),
        ("b", "unseen"): (3, 1),
        ("b", "exact"): (1, 0),
        ("b", "near"): (4, 0),
        ("b", "near, same label"): (2, 0),
        ("b", "near, another label"): (2, 0),
    }


def test_per_class_and_pairs_have_their_figures_on_unseen_images(report):
    neutral, happy = (
        next(row for row in rows_of(report, "per_class") if (row["checkpoint"], row["class"]) == ("a", name))
        for name in (CLASSES[6], CLASSES[4])
    )
    assert (neutral["support"], neutral["support_unseen"]) == (1, 0)
    assert (happy["support_unseen"], happy["correct_unseen"], happy["recall_unseen"], happy["f1_unseen"]) == (
        1,
        1,
        1,
        1,
    )
    (pair,) = rows_of(report, "comparisons")
    assert (pair["rows_unseen"], pair["difference_unseen"], pair["p_value_unseen"]) == (3, pytest.approx(1 / 3), 1)


def test_the_checkpoint_that_is_best_on_unseen_images_is_the_best(report):
    page = (report.folder / "report.html").read_text()
    assert "Best on public_test: b<" in page
    assert "62.5 % of these images show a photograph" in page
    assert "unseen %" in report.told
    assert "all images" in report.told


def test_a_twin_is_the_partner_if_that_trains_and_else_the_first_training_image_of_the_photograph(report):
    photographs = report.predictions.photographs
    tested = np.arange(6, 14)
    assert photographs.twins(tested).tolist() == [0, 1, 2, 3, 3, -1, -1, -1]
    assert photographs.partners(tested).tolist() == [0, 1, 2, 10, 9, 12, 11, -1]


def test_other_labels_are_those_of_the_other_images_of_the_photograph(report):
    other = report.predictions.photographs.other_labels
    assert other(8) == CLASSES[2]
    assert other(3) == f"{CLASSES[3]}, {CLASSES[6]}"
    assert other(13) is None


def test_suspects_come_with_the_labels_of_the_same_photograph(report, tmp_path, monkeypatch):
    monkeypatch.setattr("tests.jobs.evaluation.report.test_copies.B", A)
    both_wrong = write(tmp_path)
    found = {row["image_id"]: row["other_labels"] for row in rows_of(both_wrong, "suspects")}
    assert found == {"public_test-2": CLASSES[2], "public_test-4": CLASSES[3], "public_test-6": CLASSES[4]}
    assert f"same photograph: {CLASSES[2]}" in (both_wrong.folder / "report.html").read_text()


def test_pairs_are_shown_from_the_lowest_correlation_to_the_highest(report):
    pairs = near_copy_pairs(report.predictions, "public_test", 12)
    assert [(pair.image_id, pair.twin_id) for pair in pairs] == [
        ("public_test-2", "training-2"),
        ("public_test-1", "training-1"),
    ]
    assert [pair.mirrored for pair in pairs] == [True, False]
    first = pairs[0]
    assert (first.label, first.twin_label, first.correlation) == (5, 2, pytest.approx(0.92))
    (only,) = near_copy_pairs(report.predictions, "public_test", 1)
    assert only.image_id == first.image_id
    page = (report.folder / "report.html").read_text()
    assert "correlation 0.92, mirrored" in page


def test_where_near_copies_are_not_known_the_figures_are_those_of_all_images(unknown):
    a, _ = rows_of(unknown, "metrics")
    assert (a["rows_unseen"], a["errors_unseen"], a["accuracy_unseen"]) == (None, None, None)
    assert a["rows_leak_free"] == 7
    assert not (unknown.folder / "copies.parquet").exists()
    assert rows_of(unknown, "comparisons")[0]["rows_unseen"] is None
    page = (unknown.folder / "report.html").read_text()
    assert "Best on public_test: a<" in page
    assert "--near-copies on" in page
    assert "accuracy %" in unknown.told


def test_training_images_are_all_seen(tmp_path):
    found = write(tmp_path, splits=("training",))
    assert {row["rows_unseen"] for row in rows_of(found, "metrics")} == {0}
    assert {row["accuracy_unseen"] for row in rows_of(found, "metrics")} == {None}
    assert "100.0 % of these images" in (found.folder / "report.html").read_text()


def test_a_data_set_without_training_images_has_seen_nothing(tmp_path):
    found = write(tmp_path, training=False)
    assert {row["rows_unseen"] for row in rows_of(found, "metrics")} == {8}
    assert "The data set has no training images" in (found.folder / "report.html").read_text()


def test_the_training_images_are_those_of_the_protocol(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 48, 48), np.uint8)
    tables = [
        rows_table([f"training-{i}" for i in range(4)], "training", np.zeros(4), pixels),
        # The notebook holds out the first training image.
        rows_table(["public_test-0", "public_test-1"], "public_test", np.zeros(2), pixels[:2]),
    ]
    write_dataset(iter(tables), str(tmp_path / "data"), "x", near_copies=NO_COPIES)
    dataset = open_dataset(str(tmp_path / "data"))
    for protocol, split, want in (
        ("challenge", "validation", ["exact", "exact"]),
        ("notebook", "test", ["", "exact"]),
        ("notebook", "validation", [""]),
    ):
        (shard,) = plan_shards(dataset, [split], protocol)
        table = SCORED.empty_table().from_pylist([{}] * shard.rows, schema=SCORED)
        marked = CopyMarker(dataset, protocol).marked(shard, table)
        assert marked.column("copy").to_pylist() == want


def test_a_run_does_not_resume_after_near_copies_were_looked_for(report, unknown):
    assert report.request.dataset.manifest.fingerprint == unknown.request.dataset.manifest.fingerprint
    assert report.request.key != unknown.request.key
