"""The audit counts what would mislead a reader of the results."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from fer_data.audit import Auditor, Finding, label_conflicts, redundant_copies
from fer_data.dataset_writer import write_dataset
from fer_data.rows import USAGES, hashes_of, pixels_hash, rows_table


def face(number: int) -> np.ndarray:
    """Face number 0 is blank; any other is not."""
    image = np.zeros((48, 48), np.uint8)
    image[0, 0] = number
    return image


def table(usage: str, *rows: tuple[int, int]) -> pa.Table:
    """Rows of (face number, label)."""
    pixels = np.stack([face(number) for number, _ in rows])
    return rows_table([f"{usage}-{i}" for i in range(len(rows))], usage, np.array([r[1] for r in rows]), pixels)


def test_the_manifest_counts_copies_leaks_blanks_and_conflicts(tmp_path):
    tables = [
        table("training", (1, 0), (1, 0), (1, 3), (2, 4), (0, 5)),
        table("public_test", (2, 4), (2, 4), (3, 1), (4, 1)),
        table("private_test", (3, 2), (0, 5), (0, 5), (9, 6)),
    ]
    audit = write_dataset(tables, str(tmp_path / "d"), "tiny").audit
    assert set(audit) == {
        Finding("redundant copies", "training", 2),
        Finding("redundant copies", "public_test", 1),
        Finding("redundant copies", "private_test", 1),
        Finding("redundant copies", "all", 7),
        Finding("also in training", "public_test", 2),
        Finding("also in training", "private_test", 2),
        Finding("also in public_test", "private_test", 1),
        Finding("blank images", "training", 1),
        Finding("blank images", "public_test", 0),
        Finding("blank images", "private_test", 2),
        Finding("blank images", "all", 3),
        Finding("label conflicts", "training", 1),
        Finding("label conflicts", "public_test", 0),
        Finding("label conflicts", "private_test", 0),
        Finding("label conflicts", "all", 2),
    }


def test_a_constant_image_of_any_shade_is_blank():
    auditor = Auditor(USAGES)
    pixels = np.stack([np.full((48, 48), 255, np.uint8), np.full((48, 48), 7, np.uint8), face(1)])
    auditor.add("test", np.zeros(3, np.int8), hashes_of(pixels), pixels)
    assert Finding("blank images", "test", 2) in auditor.findings()


def test_the_hash_is_the_same_on_every_machine_and_for_ever():
    # head -c 2304 /dev/zero | b2sum -l 64
    assert pixels_hash(bytes(2304)).to_bytes(8, "little").hex() == "8bcf22360270381f"
    assert hashes_of(np.zeros((1, 48, 48, 1), np.uint8)).tolist() == [pixels_hash(bytes(2304))]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 6)), max_size=30))
def test_copies_and_conflicts_agree_with_counting_by_hand(rows):
    hashes = np.array([row[0] for row in rows], np.uint64)
    labels = np.array([row[1] for row in rows], np.int8)
    by_image: dict[int, list[int]] = {}
    for image, label in rows:
        by_image.setdefault(image, []).append(label)
    assert redundant_copies(hashes) == sum(len(group) - 1 for group in by_image.values())
    assert label_conflicts(hashes, labels) == sum(len(set(group)) > 1 for group in by_image.values())
