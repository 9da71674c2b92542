"""FER+: what ten annotators see in each image of FER-2013, in place of its labels.

Barsoum, Zhang, Canton Ferrer, Zhang: Training Deep Networks for Facial Expression Recognition with Crowd-Sourced Label
Distribution, ICMI 2016. The file is fer2013new.csv of https://github.com/microsoft/FERPlus: its rows follow those of
fer2013.csv.
"""

import csv
from dataclasses import dataclass

import numpy as np

from fer_data.errors import UserError
from fer_data.rows import VOTED
from fer_data.storage import printable, read_file, redacted

MAX_VOTES_BYTES = 64 * 2**20
_COLUMNS = ("usage", *VOTED)


@dataclass(frozen=True)
class Votes:
    """For each row of FER-2013's CSV its `usages`, as the file `name` has them in lower case, and its `counts`.

    `counts` is int8 [n, 10]: how many annotators chose each of `rows.VOTED`.
    """

    name: str
    usages: tuple[str, ...]
    counts: np.ndarray

    def __getitem__(self, rows: slice) -> "Votes":
        return Votes(self.name, self.usages[rows], self.counts[rows])


def majority(counts: np.ndarray) -> str:
    """What most annotators chose, of int8 [10]: one of `rows.VOTED`. Raises ValueError, with the reason, if nothing is.

    As in the publication's code, single votes count as slips, and what is chosen has more than half of the others.
    """
    counts = np.where(counts > 1, counts, 0)
    first = int(counts.argmax())
    if 2 * counts[first] <= counts.sum():
        raise ValueError("has no label: no class has the votes of most annotators")
    return VOTED[first]


def read_votes(uri: str) -> Votes:
    """The votes in the CSV at `uri`. Raises UserError when there is none, or a row is not as it should be."""
    where = f"--labels {redacted(uri)}"
    text = read_file(uri, MAX_VOTES_BYTES).decode("utf-8-sig", errors="replace")
    try:
        lines = [line for line in csv.reader(text.splitlines()) if line]
    except csv.Error as error:
        raise UserError(f"{where} is no CSV ({error}): give FER+'s fer2013new.csv") from error
    header = [name.strip().lower() for name in lines[0]] if lines else []
    if not set(_COLUMNS) <= set(header):
        shown = printable(",".join(lines[0] if lines else [])[:60])
        raise UserError(f"{where}: the header is {shown!r}, without the columns {','.join(_COLUMNS)} of fer2013new.csv")
    at = [header.index(name) for name in _COLUMNS]
    usages, counts = [], np.zeros((len(lines) - 1, len(VOTED)), np.int8)
    for number, line in enumerate(lines[1:]):
        try:
            usages.append(line[at[0]].strip().lower())
            counts[number] = votes = [int(line[column]) for column in at[1:]]
            fits = min(votes) >= 0 and max(votes) > 0
        except (ValueError, IndexError, OverflowError):
            fits = False
        if not fits:
            shown = printable(",".join(line)[:60])
            raise UserError(f"{where}, row {number + 1}: {shown!r} is not a Usage and {len(VOTED)} numbers of votes")
    return Votes(where, tuple(usages), counts)
