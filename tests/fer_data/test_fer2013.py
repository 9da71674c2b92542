"""The published FER-2013, prepared: its counts, its known flaws, its splits."""

from collections import defaultdict
from zipfile import ZipFile

import numpy as np
import pytest

from fer_data.audit import Finding
from fer_data.dataset import PreparedDataset
from fer_data.emotions import CLASSES
from fer_data.prepare import prepare
from fer_data.rows import pixels_of
from fer_data.splits import split


@pytest.fixture(scope="module")
def fer2013(fer2013_zip, tmp_path_factory) -> PreparedDataset:
    # The near copies have a test of their own, which takes minutes.
    return prepare(fer2013_zip, str(tmp_path_factory.mktemp("fer2013") / "out"), near_copies="off")


@pytest.mark.real_data
def test_fer2013_has_28709_training_and_3589_public_test_faces(fer2013):
    manifest = fer2013.manifest
    assert {usage: manifest.rows(usage) for usage in manifest.counts} == {
        "training": 28_709,
        "public_test": 3_589,
    }
    assert manifest.rejected == 0


@pytest.mark.real_data
def test_the_audit_finds_the_known_copies_and_leaks_of_fer2013(fer2013):
    audit = fer2013.manifest.audit
    assert Finding("redundant copies", "training", 1_236) in audit
    assert Finding("also in training", "public_test", 280) in audit
    assert Finding("blank images", "all", 12) in audit


@pytest.mark.real_data
def test_the_notebook_protocol_holds_out_the_files_that_the_original_project_did(fer2013, fer2013_zip):
    dataset = fer2013
    names = defaultdict(list)
    for path in ZipFile(fer2013_zip).namelist():
        folder, name, file = path.split("/")
        if folder == "train":
            names[name].append(file)
    original = {  # Keras's flow_from_directory with validation_split=0.3
        (name, file.removesuffix(".jpg"))
        for name, found in names.items()
        for file in sorted(found)[: int(0.3 * len(found))]
    }
    validation = split(dataset, "validation", "notebook")
    ours = set()
    for group, rows in validation.groups:
        table = dataset.read(group, ("image_id", "label")).take(rows)
        ids, labels = table.column("image_id").to_pylist(), table.column("label").to_pylist()
        # One pair of files has one name; theirs end in .jpg@folder.
        ours |= {(CLASSES[label], id_.partition(".")[0]) for id_, label in zip(ids, labels, strict=True)}
    assert ours == original
    assert (split(dataset, "training", "notebook").num_rows, validation.num_rows) == (20_099, 8_610)


@pytest.mark.real_data
def test_a_row_group_of_fer2013_is_a_fair_sample(fer2013):
    whole = split(fer2013, "training").class_counts / 28_709
    for group in fer2013.row_groups("training"):
        table = fer2013.read(group)
        assert pixels_of(table).shape == (group.rows, 48, 48, 1)
    share = np.bincount(table.column("label").to_numpy(), minlength=7) / group.rows
    assert np.abs(share - whole).max() < 0.2
