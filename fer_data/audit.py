"""What is wrong with a data set: exact and near copies, leaks between splits, blank images, conflicting labels.

Two images count as the same when their 64-bit content hashes are equal: among a million different images the chance of
any collision is under 1e-7. The audit keeps ten bytes per row, so that millions of rows fit in memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

COPIES = "redundant copies"
LEAKS = "also in"
BLANKS = "blank images"
CONFLICTS = "label conflicts"
PHOTOGRAPHS = "photograph in"
REPEATED = "repeated photographs"
SEVERAL = "photographs with several labels"


@dataclass(frozen=True)
class Finding:
    """One figure of the audit: `count` rows of `usage`; for label conflicts, groups of equal images.

    `check` is "redundant copies", "also in training" (or another earlier usage), "blank images" or "label conflicts".
    Where near copies were looked for, it is also "photograph in training" (or another earlier usage), "repeated
    photographs" or "photographs with several labels"; the last two count photographs.
    `usage` is one of the data set's, or "all".
    """

    check: str
    usage: str
    count: int


@dataclass
class Auditor:
    """Collects hashes and labels while a data set is written, then counts.

    `usages` is in leak order: rows of a later usage that occur in an earlier one are leaks.
    """

    usages: Sequence[str]
    _hashes: dict[str, list[np.ndarray]] = field(default_factory=dict)
    _labels: dict[str, list[np.ndarray]] = field(default_factory=dict)
    _blanks: dict[str, int] = field(default_factory=dict)

    def add(self, usage: str, labels: np.ndarray, hashes: np.ndarray, pixels: np.ndarray) -> None:
        """Adds rows of one usage: labels int8 [n], hashes uint64 [n], pixels uint8 [n, …]."""
        pixels = pixels.reshape(len(labels), -1)
        self._hashes.setdefault(usage, []).append(hashes)
        self._labels.setdefault(usage, []).append(labels)
        blank = int(np.count_nonzero((pixels == pixels[:, :1]).all(axis=1)))
        self._blanks[usage] = self._blanks.get(usage, 0) + blank

    def findings(self) -> tuple[Finding, ...]:
        """Each check, for every usage that has rows and for all rows together."""
        present = [usage for usage in self.usages if usage in self._hashes]
        hashes = {usage: np.concatenate(self._hashes[usage]) for usage in present}
        labels = {usage: np.concatenate(self._labels[usage]) for usage in present}
        everything = np.concatenate([hashes[u] for u in present]) if present else np.empty(0, np.uint64)
        all_labels = np.concatenate([labels[u] for u in present]) if present else np.empty(0, np.int8)

        found = [Finding(COPIES, usage, redundant_copies(hashes[usage])) for usage in present]
        found.append(Finding(COPIES, "all", redundant_copies(everything)))
        for i, usage in enumerate(present):
            for earlier in present[:i]:
                leaked = int(np.isin(hashes[usage], hashes[earlier]).sum())
                found.append(Finding(f"{LEAKS} {earlier}", usage, leaked))
        found += [Finding(BLANKS, usage, self._blanks[usage]) for usage in present]
        found.append(Finding(BLANKS, "all", sum(self._blanks.values())))
        found += [Finding(CONFLICTS, usage, label_conflicts(hashes[usage], labels[usage])) for usage in present]
        found.append(Finding(CONFLICTS, "all", label_conflicts(everything, all_labels)))
        return tuple(found)


def photograph_findings(
    usages: Sequence[str], usage: np.ndarray, labels: np.ndarray, photographs: np.ndarray
) -> tuple[Finding, ...]:
    """The checks of near copies, for every usage that has rows and for all rows together.

    Of each row, the position of its `usage` in `usages`, its label and its photograph, int [n] each; -1 for a
    photograph that occurs once.
    """
    present = [(index, name) for index, name in enumerate(usages) if (usage == index).any()]
    several = {name: photographs[(usage == index) & (photographs >= 0)] for index, name in present}
    own_labels = {name: labels[(usage == index) & (photographs >= 0)] for index, name in present}
    found = []
    for at, (_, name) in enumerate(present):
        for _, earlier in present[:at]:
            count = int(np.isin(several[name], several[earlier]).sum())
            found.append(Finding(f"{PHOTOGRAPHS} {earlier}", name, count))
    several["all"], own_labels["all"] = photographs[photographs >= 0], labels[photographs >= 0]
    for name, numbers in several.items():
        found.append(Finding(REPEATED, name, int((np.unique(numbers, return_counts=True)[1] > 1).sum())))
    found += [Finding(SEVERAL, name, label_conflicts(numbers, own_labels[name])) for name, numbers in several.items()]
    return tuple(found)


def redundant_copies(hashes: np.ndarray) -> int:
    """How many rows repeat an earlier image, from the hashes of all rows, uint64 [n]."""
    return len(hashes) - len(np.unique(hashes))


def label_conflicts(hashes: np.ndarray, labels: np.ndarray) -> int:
    """How many groups of equal images have more than one label, from hashes, uint64 [n], and labels, int8 [n]."""
    order = np.lexsort((labels, hashes))
    hashes, labels = hashes[order], labels[order]
    same_image = hashes[1:] == hashes[:-1]
    return len(np.unique(hashes[1:][same_image & (labels[1:] != labels[:-1])]))
