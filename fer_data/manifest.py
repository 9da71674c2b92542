"""The manifest of a prepared data set, with its parts and their row groups."""

import json
from dataclasses import asdict, dataclass

from fer_data.audit import REPEATED, Finding
from fer_data.emotions import CLASSES

SCHEMA_VERSION = 1
ROW_GROUP_ROWS = 1024
MANIFEST = "manifest.json"
REJECTED = "rejected.parquet"


@dataclass(frozen=True)
class RowGroup:
    """Row group number `index` of the file `part`: `rows` rows, all of one `usage`."""

    part: str
    index: int
    rows: int
    usage: str


@dataclass(frozen=True)
class Part:
    """One Parquet file of the data set: its `rows`, all of one `usage`, in `bytes` bytes."""

    name: str
    usage: str
    rows: int
    bytes: int


@dataclass(frozen=True)
class Manifest:
    """What a prepared data set holds.

    `fingerprint` (hexadecimal) depends on the rows alone, not on when, where or with how many workers they
    were prepared. `counts` has the rows by usage and class.
    """

    schema_version: int
    source: str
    fingerprint: str
    counts: dict[str, dict[str, int]]
    rejected: int
    audit: tuple[Finding, ...]
    parts: tuple[Part, ...]

    def rows(self, usage: str) -> int:
        """How many rows of `usage` there are: 0 when there are none."""
        return sum(self.counts.get(usage, {}).values())

    def classes_without_images(self) -> list[str]:
        """The classes of which no usage has an image."""
        return [label for label in CLASSES if not any(counts[label] for counts in self.counts.values())]

    @property
    def near_copies(self) -> bool:
        """Whether near copies were looked for, so that the data set has near_copies.parquet."""
        return any(finding.check == REPEATED for finding in self.audit)

    def to_json(self) -> str:
        """The text of manifest.json."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Manifest":
        """The manifest that `to_json` wrote. Raises ValueError, KeyError or TypeError for any other text."""
        fields = json.loads(text)
        if fields["schema_version"] != SCHEMA_VERSION:
            raise ValueError(f"schema version {fields['schema_version']}, not {SCHEMA_VERSION}")
        fields["audit"] = tuple(Finding(**finding) for finding in fields["audit"])
        fields["parts"] = tuple(Part(**part) for part in fields["parts"])
        return cls(**fields)
