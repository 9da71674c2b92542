"""Near copies among the photographs of FER-2013, and among these after known transforms."""

import numpy as np
import pytest

from fer_data.dataset import PreparedDataset
from fer_data.near_copies.finder import find_copies
from fer_data.prepare import prepare
from fer_data.rows import hashes_of, pixels_of
from fer_data.seen import EXACT, NEAR, Seen
from fer_data.splits import split
from tests.fer_data.near_copies.transforms import TRANSFORMS

pytestmark = [pytest.mark.slow, pytest.mark.real_data]
COPIED = 300


@pytest.fixture(scope="module")
def prepared(fer2013_zip, tmp_path_factory) -> PreparedDataset:
    return prepare(fer2013_zip, str(tmp_path_factory.mktemp("fer2013") / "set"))


def images_of(dataset: PreparedDataset, usage: str) -> np.ndarray:
    tables = [dataset.read(group, columns=("pixels",)) for group in dataset.row_groups(usage)]
    return np.concatenate([pixels_of(table)[..., 0] for table in tables])


def test_the_public_test_shows_a_thousand_photographs_of_training(prepared):
    findings = {(finding.check, finding.usage): finding.count for finding in prepared.manifest.audit}
    kinds = Seen(prepared, split(prepared, "training")).copying_of_split(split(prepared, "validation")).kind
    assert (kinds == EXACT).sum() == findings["also in training", "public_test"] == 280
    assert 760 <= (kinds == NEAR).sum() <= 860
    assert findings["photograph in training", "public_test"] == (kinds > 0).sum()


def test_near_copies_agree_on_their_label_in_most_cases(prepared):
    labels: dict[str, int] = {}
    for usage in ("training", "public_test"):
        for group in prepared.row_groups(usage):
            table = prepared.read(group, columns=("image_id", "label"))
            labels |= zip(*(column.to_pylist() for column in table.columns), strict=True)
    near = [
        (row["image_id"], row["partner"])
        for row in prepared.near_copies().to_pylist()
        if row["correlation"] < 1 and "Public" in row["image_id"] and "Training" in row["partner"]
    ]
    assert len(near) > 600
    assert np.mean([labels[one] == labels[other] for one, other in near]) >= 0.85


def test_copies_of_photographs_are_found_and_lookalikes_are_not(prepared):
    dice = np.random.default_rng(0)
    images, repeated = images_of(prepared, "training"), set(prepared.near_copies().column("image_id").to_pylist())
    ids = np.concatenate(
        [prepared.read(g, columns=("image_id",)).column("image_id").to_numpy() for g in prepared.row_groups("training")]
    )
    alone = np.array([image_id not in repeated for image_id in ids])
    rows = dice.permutation(np.flatnonzero(alone & (images.std(axis=(1, 2)) > 15)))[:5000]
    copied = {name: rows[i * 100 : i * 100 + COPIED] for i, name in enumerate(TRANSFORMS)}
    copies = [TRANSFORMS[name](images[row], dice) for name, chosen in copied.items() for row in chosen]
    together = np.concatenate([images[rows], copies])[..., None]
    found = find_copies(together, hashes_of(together))
    number = np.full(len(together), -1)
    number[found.row] = found.photograph
    place = {row: at for at, row in enumerate(rows)}
    at, shares = len(rows), {}
    for name, chosen in copied.items():
        own, original = number[at : at + COPIED], number[[place[row] for row in chosen]]
        shares[name] = ((own >= 0) & (own == original)).mean()
        at += COPIED
    print(shares)
    assert shares.pop("some of everything") >= 0.9
    assert min(shares.values()) >= 0.97, shares
    assert np.mean(list(shares.values())) >= 0.98, shares
    # Hardly any two originals are linked. Those that are show one photograph, which their other copies reveal.
    originals = number[: len(rows)][number[: len(rows)] >= 0]
    assert len(originals) - len(np.unique(originals)) <= 0.002 * len(rows)
