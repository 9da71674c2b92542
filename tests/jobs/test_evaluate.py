"""The command, and the report that it leaves."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import accuracy_score, f1_score, log_loss

from fer_data.dataset import open_dataset
from fer_data.emotions import CLASSES
from fer_data.rows import pixels_of
from jobs.evaluation.report import schemas
from jobs.evaluation.scoring.corruptions import CORRUPTIONS
from tests.jobs.evaluation.command import run
from tests.jobs.evaluation.damage import rewrite, with_pixels

PROBABILITIES = [f"p_{name}" for name in CLASSES]


@pytest.fixture(scope="module")
def spoilt_set(drawn_set, tmp_path_factory) -> str:
    """203 faces of which number 17 does not match its hash."""
    folder = shutil.copytree(drawn_set, tmp_path_factory.mktemp("spoilt") / "set").as_posix()
    rewrite(folder, "public_test", with_pixels(17, bytes(2304)))
    return folder


@pytest.fixture(scope="module")
def report(checkpoints, spoilt_set, tmp_path_factory) -> tuple[Path, str]:
    """Two checkpoints and their ensemble on two splits, corruptions too; and what was printed."""
    out = tmp_path_factory.mktemp("reports") / "full"
    told = run(
        *("--checkpoint", checkpoints[0], f"second={checkpoints[1]}", "--ensemble", "--corruptions"),
        *("--data", spoilt_set, "--split", "public_test", "training", "--out", str(out)),
    )
    return out, told


def rows_of(report: Path, table: str) -> list[dict]:
    return pq.read_table(report / f"{table}.parquet").to_pylist()


@pytest.mark.cluster
def test_every_image_has_one_row_for_each_checkpoint(report, checkpoints, spoilt_set):
    predictions = pq.read_table(report[0] / "predictions").to_pandas()
    assert list(predictions.columns) == schemas.PREDICTIONS.names
    dataset = open_dataset(spoilt_set)
    groups = [*dataset.row_groups("public_test"), *dataset.row_groups("training")]
    images = [i for g in groups for i in dataset.read(g, columns=("image_id",)).column("image_id").to_pylist()]
    for name in (checkpoints[0], "second", "ensemble"):
        assert sorted(predictions.loc[predictions.checkpoint == name, "image_id"]) == sorted(images)
    assert len(predictions) == 3 * 803


@pytest.mark.cluster
def test_a_damaged_row_is_there_with_its_error_and_in_no_metric(report):
    predictions = pq.read_table(report[0] / "predictions").to_pandas()
    damaged = predictions[predictions.error.notna()]
    assert set(damaged.image_id) == {"public_test-000017"}
    assert len(damaged) == 3
    assert damaged[["predicted", *PROBABILITIES]].isna().all(axis=None)
    for row in rows_of(report[0], "metrics"):
        assert row["errors"] == (1 if row["split"] == "public_test" else 0)
        assert row["rows"] == (203 if row["split"] == "public_test" else 600)
    confusion = [row["rows"] for row in rows_of(report[0], "confusion") if row["split"] == "public_test"]
    assert sum(confusion) == 3 * 202


@pytest.mark.cluster
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_metrics_are_those_of_the_predictions(report):
    predictions = pq.read_table(report[0] / "predictions").to_pandas().query("error.isna()")
    for row in rows_of(report[0], "metrics"):
        own = predictions.query("checkpoint == @row['checkpoint'] and usage == @row['split']")
        labels, probabilities = own.label.to_numpy(), own[PROBABILITIES].to_numpy(np.float64)
        np.testing.assert_array_equal(probabilities.argmax(axis=1), own.predicted)
        assert row["accuracy"] == pytest.approx(accuracy_score(labels, own.predicted), abs=1e-9)
        f1 = f1_score(labels, own.predicted, labels=range(7), average="macro", zero_division=0)
        assert row["macro_f1"] == pytest.approx(f1, abs=1e-9)
        assert row["log_loss"] == pytest.approx(log_loss(labels, probabilities, labels=range(7)), abs=1e-9)
        assert row["accuracy_low"] < row["accuracy"] < row["accuracy_high"]


@pytest.mark.cluster
def test_predictions_are_those_of_keras(report, checkpoints, drawn_set):
    from fer_models.checkpoint import load_model

    dataset = open_dataset(drawn_set)
    (group,) = dataset.row_groups("public_test")
    want = load_model(checkpoints[0])[0].predict(pixels_of(dataset.read(group)), verbose=0)
    rows = pq.read_table(report[0] / "predictions").to_pandas()
    own = rows[(rows.checkpoint == checkpoints[0]) & (rows.usage == "public_test")]
    sound = own.error.isna().to_numpy()
    np.testing.assert_allclose(own[PROBABILITIES].to_numpy()[sound], want[sound], atol=1e-6)
    second, both = (rows[(rows.checkpoint == n) & (rows.usage == "public_test")] for n in ("second", "ensemble"))
    mean = (own[PROBABILITIES].to_numpy(float) + second[PROBABILITIES].to_numpy(float)) / 2
    np.testing.assert_allclose(both[PROBABILITIES].to_numpy(float)[sound], mean[sound], atol=1e-6)


@pytest.mark.cluster
def test_training_images_are_never_leak_free_and_the_others_are(report):
    for row in rows_of(report[0], "metrics"):
        leaks = row["split"] == "training"
        assert row["rows_leak_free"] == (0 if leaks else row["rows"])
        assert row["accuracy_leak_free"] == (None if leaks else row["accuracy"])


@pytest.mark.cluster
def test_where_near_copies_were_not_looked_for_only_exact_copies_are_known(report):
    predictions = pq.read_table(report[0] / "predictions").to_pandas()
    trained = predictions.usage == "training"
    assert set(predictions["copy"][trained]) == {"exact"}
    assert predictions["copy"][~trained].isna().all()
    for row in rows_of(report[0], "metrics"):
        assert row["rows_unseen"] is None
    assert "near copies were not looked for: prepare the data with jobs/prepare_data.py --near-copies on" in report[1]


@pytest.mark.cluster
def test_every_pair_is_compared_on_every_split(report, checkpoints):
    rows = rows_of(report[0], "comparisons")
    assert len(rows) == 2 * 3
    assert {(row["checkpoint_a"], row["checkpoint_b"]) for row in rows} == {
        (checkpoints[0], "second"),
        (checkpoints[0], "ensemble"),
        ("second", "ensemble"),
    }
    assert all(row["p_value_corrected"] >= row["p_value"] for row in rows)


@pytest.mark.cluster
def test_robustness_has_every_corruption_at_every_strength(report):
    rows = rows_of(report[0], "robustness")
    assert len(rows) == 3 * 2 * (1 + 3 * len(CORRUPTIONS))
    assert {row["rows"] for row in rows} == {202, 600}
    clean = next(row for row in rows if row["corruption"] == "none")
    assert clean["accuracy"] == rows_of(report[0], "metrics")[0]["accuracy"]


@pytest.mark.cluster
def test_tables_have_the_documented_columns_with_their_meaning(report):
    assert not (report[0] / "copies.parquet").exists()  # Near copies were not looked for.
    for name, schema in schemas.TABLES.items():
        if name not in ("predictions", "copies"):
            assert pq.read_schema(report[0] / f"{name}.parquet").equals(schema, check_metadata=True)


@pytest.mark.cluster
def test_the_page_stands_alone_and_shows_every_picture(report):
    page = (report[0] / "report.html").read_text()
    assert not re.search(r"(src|href)=[\"'](?!data:)", page)
    assert "http" not in re.sub(r"http-equiv", "", page.split("What was run")[0])
    pictures = list(report[0].glob("*.png"))
    assert len(pictures) == 2 * (4 + 2 * 3)
    assert page.count("data:image/png;base64,") >= len(pictures)
    assert "binary accuracy" in page.lower()


@pytest.mark.cluster
def test_suspects_have_the_names_of_their_classes_and_their_pictures_on_the_page(report):
    rows = rows_of(report[0], "suspects")
    for kind in ("label", "predicted"):
        assert [row[f"{kind}_name"] for row in rows] == [CLASSES[row[kind]] for row in rows]
    page = (report[0] / "report.html").read_text()
    assert all(f'<tr><td><img alt="{row["image_id"]}"' in page for row in rows[:100])


@pytest.mark.cluster
def test_the_terminal_shows_accuracy_and_who_is_better(report):
    assert "public_test: 203 images, 1 of them with errors" in report[1]
    assert "McNemar's exact test" in report[1]
    assert report[1].count("under corruptions: ") == 2 * 3
    assert str(report[0]) in report[1]


@pytest.mark.cluster
def test_a_finished_run_says_what_it_ran(report):
    found = json.loads((report[0] / "run.json").read_text())
    assert found["splits"] == ["public_test", "training"]
    assert found["checkpoints"][1]["name"] == "second"
    assert sorted(path.name for path in report[0].parent.iterdir()) == ["full"]
