"""Which validation images count as unseen, and which figure a run, its folder and a sweep therefore follow."""

import json
from dataclasses import replace

import numpy as np
import pytest

from fer_data.dataset import PreparedDataset, open_dataset
from fer_data.dataset_writer import write_dataset
from fer_data.drawing import draw
from fer_data.errors import UserError
from fer_data.near_copies.table import Copies
from fer_data.rows import rows_table
from fer_data.splits import share, split
from fer_models.metrics import HISTORY, summarise
from jobs.training.config import TrainConfig
from jobs.training.defaults import DEFAULTS
from jobs.training.run_folder import RunFolder, history_frame
from jobs.training.selection import decided, seen_line, unseen_rows
from jobs.training.serving import unseen_metrics
from jobs.training.task import Task
from jobs.tuning.sweep_folder import SweepFolder, settings

USAGES = {"training": 1040, "public_test": 1030, "private_test": 8}  # Two row groups each of the first two.
FIRST = {"training": 0, "public_test": 1040, "private_test": 2070}
PHOTOGRAPHS = [
    ("training", 3, "public_test", 5),
    ("training", 1035, "public_test", 1027),
    ("training", 8, "training", 9),
    ("training", 20, "training", 1000),
    ("public_test", 6, "public_test", 7),
    ("public_test", 10, "private_test", 2),
]
"""Pairs of images that show the same photograph."""


def written(folder, *, known: bool = True, test_seed: int = 0) -> PreparedDataset:
    """Faces of which those of PHOTOGRAPHS are copies, and whose first validation image is the last training image.

    `test_seed` draws the images and the labels of the test.
    """

    def tables():
        for usage, count in USAGES.items():
            seed = test_seed if usage == "private_test" else 0
            pixels, labels = draw(FIRST[usage] + np.arange(count), seed)
            if usage == "public_test":
                pixels[0] = draw(np.array([USAGES["training"] - 1]), 0)[0][0]
            yield rows_table([f"{usage}-{i:06d}" for i in range(count)], usage, labels, pixels)

    def found(pixels, hashes) -> Copies:
        pairs = np.array([[FIRST[a] + i, FIRST[b] + j] for a, i, b, j in PHOTOGRAPHS])
        rows, partners = pairs.ravel(), pairs[:, ::-1].ravel()
        order = np.argsort(rows)
        numbers = np.repeat(np.arange(len(pairs)), 2)
        return Copies(
            rows[order],
            numbers[order],
            partners[order],
            np.full(len(rows), 0.99, np.float32),
            np.zeros(len(rows), bool),
        )

    write_dataset(tables(), str(folder), "drawn faces", near_copies=found if known else None)
    return open_dataset(str(folder))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> PreparedDataset:
    return written(tmp_path_factory.mktemp("copied") / "set")


def test_copies_of_training_images_are_seen_and_copies_of_other_images_are_not(dataset):
    unseen = unseen_rows(dataset, split(dataset, "training"), split(dataset, "validation"))
    assert unseen.dtype == bool
    assert len(unseen) == USAGES["public_test"]
    assert np.flatnonzero(~unseen).tolist() == [0, 5, 1027]  # In both row groups, in the order of the split.
    assert len(seen_line(unseen)) == 1
    assert seen_line(np.array([True, True])) == seen_line(None) == []


def test_only_the_rows_that_a_run_trains_on_are_seen(dataset):
    training, validation = split(dataset, "training"), split(dataset, "validation")
    part = share(dataset, training, 0.3)
    trained = [
        name
        for group, rows in part.groups
        for name in np.array(dataset.read(group, columns=("image_id",))["image_id"].to_pylist())[rows].tolist()
    ]
    copies = {0: "training-001039", 5: "training-000003", 1027: "training-001035"}
    expected = [row for row, name in copies.items() if name in trained]
    assert len(expected) < len(copies)
    assert np.flatnonzero(~unseen_rows(dataset, part, validation)).tolist() == expected


def test_in_the_notebook_protocol_the_rows_held_out_are_compared_with_the_rest(dataset):
    """Rows 8, 9 and 20 are held out, with other early rows of each class; row 1000 trains."""
    training, validation = (split(dataset, name, "notebook") for name in ("training", "validation"))
    ids = [
        name
        for group, rows in validation.groups
        for name in np.array(dataset.read(group, columns=("image_id",))["image_id"].to_pylist())[rows].tolist()
    ]
    assert {"training-000008", "training-000009", "training-000020"} <= set(ids)
    unseen = unseen_rows(dataset, training, validation)
    assert [name for name, new in zip(ids, unseen, strict=True) if not new] == ["training-000020"]


def test_where_near_copies_are_not_known_neither_is_what_is_unseen_and_all_images_choose(tmp_path):
    dataset = written(tmp_path / "set", known=False)
    unseen = unseen_rows(dataset, split(dataset, "training"), split(dataset, "validation"))
    assert unseen is None
    assert decided(TrainConfig(), unseen).metric == "validation_loss"
    assert decided(TrainConfig(monitor="accuracy"), np.zeros(4, bool)).metric == "validation_accuracy"


def test_the_test_rows_decide_nothing(dataset, tmp_path):
    other = written(tmp_path / "other", test_seed=1)
    assert other.manifest.fingerprint != dataset.manifest.fingerprint
    masks = [unseen_rows(d, split(d, "training"), split(d, "validation")) for d in (dataset, other)]
    np.testing.assert_array_equal(*masks)


@pytest.mark.parametrize("monitor", ["loss", "accuracy", "macro_f1", "macro_recall", "auc"])
def test_every_monitor_has_its_figure_on_unseen_images(monitor):
    config = decided(TrainConfig(monitor=monitor), np.array([False, True]))
    assert config.metric == f"validation_{monitor}_unseen"
    assert decided(replace(config, select="all"), np.array([True])).metric == f"validation_{monitor}"
    assert monitor in HISTORY


def test_metrics_of_unseen_rows_are_those_of_the_rows_alone_and_empty_where_there_are_none():
    random = np.random.default_rng(0)
    labels, probabilities = random.integers(0, 7, 90), random.dirichlet(np.ones(7), 90)
    mask = random.random(90) < 0.3
    assert unseen_metrics(labels, probabilities, mask) == summarise(labels[mask], probabilities[mask])
    for nothing in (None, np.zeros(90, bool)):
        assert unseen_metrics(labels, probabilities, nothing) == dict.fromkeys(HISTORY)
    with pytest.raises(IndexError):
        unseen_metrics(labels, probabilities, mask[1:])


def test_a_column_that_is_empty_all_the_way_has_numbers_type_in_the_history():
    row = {"epoch": 1} | {f"validation_{name}_unseen": None for name in HISTORY}
    assert set(history_frame([row]).dtypes[1:]) == {np.dtype(float)}


def test_ranks_refuse_a_configuration_that_chooses_by_rows_that_nobody_knows():
    rest = {"threads": 1, "keep": 2, "stall_timeout": 1.0, "progress": None}
    with pytest.raises(ValueError, match="no unseen validation rows are known"):
        Task("run", TrainConfig(), "/run", None, **rest)
    Task("run", TrainConfig(), "/run", None, **rest, unseen=np.array([True]))
    Task("run", TrainConfig(select="all"), "/run", None, **rest)


def test_a_run_or_sweep_that_began_before_select_goes_on_by_all_images_and_not_otherwise(tmp_path):
    saved = json.loads(TrainConfig().to_json())
    del saved["select"]
    (tmp_path / "run").mkdir()
    (tmp_path / "run/config.json").write_text(json.dumps(saved))
    assert TrainConfig.read(str(tmp_path / "run/config.json")) == TrainConfig()  # For --config: a new run.
    run = RunFolder(str(tmp_path / "run"))
    with pytest.raises(UserError, match="select all -> unseen"):
        run.start(TrainConfig(), "f", overwrite=False)
    run.start(TrainConfig(select="all"), "f", overwrite=False)

    def of(select: str) -> dict:
        base = replace(DEFAULTS["compact"], select=select)
        return settings(base, {}, search="tpe", scheduler={"scheduler": "asha"}, data_fingerprint="f")

    old = of("all")
    del old["base"]["select"]
    sweep = SweepFolder(str(tmp_path / "sweep"))
    sweep.start(old, overwrite=False)
    with pytest.raises(UserError, match="select all -> unseen"):
        sweep.start(of("unseen"), overwrite=False)
    sweep.start(of("all"), overwrite=False)
