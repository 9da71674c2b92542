"""The card that travels with a checkpoint's weights: what they are and how they came to be."""

import importlib.metadata
import json
import math
import re
import subprocess
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import with_config

from fer_data.emotions import CLASSES
from fer_data.errors import UserError
from fer_data.validation import validated

FORMAT_VERSION = 1
MAX_EPOCH, MAX_PARAMETERS = 10**9, 10**11
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,200}")
_PACKAGES = ("ray", "tensorflow", "keras", "numpy")


@with_config(extra="forbid")
@dataclass(frozen=True)
class Card:
    """The content of `card.json`, field by field.

    `metrics` has a row per finished epoch, as in `history.csv`; `exports` has the measurements of each exported file,
    and `sha256` the digest of every other file of the checkpoint. Of a model that was imported, `protocol` and
    `data_fingerprint` are empty, since nobody knows them, and `configuration` has what was said of it.
    """

    model: str
    epoch: int
    parameters: int
    precision: str
    protocol: str
    data_fingerprint: str
    configuration: dict[str, Any]
    metrics: list[dict[str, Any]]
    format_version: int = FORMAT_VERSION
    classes: tuple[str, ...] = CLASSES
    input: dict[str, Any] = field(
        default_factory=lambda: {"shape": [48, 48, 1], "dtype": "uint8", "range": [0, 255], "channels": "grey"}
    )
    versions: dict[str, str] = field(default_factory=lambda: package_versions())
    git_commit: str | None = field(default_factory=lambda: git_commit())
    sha256: dict[str, str] = field(default_factory=dict)
    exports: dict[str, dict[str, Any]] = field(default_factory=dict)

    def to_json(self) -> str:
        finite = [{k: v if _finite({k: v}) else None for k, v in row.items()} for row in self.metrics]
        return json.dumps(asdict(self) | {"metrics": finite}, indent=1)

    @classmethod
    def from_json(cls, text: str | bytes, where: str) -> "Card":
        """Raises UserError, naming `where`, when `text` is not a card of this format."""
        card = validated(cls, text, f"{where}: not a checkpoint card")
        for wrong, what in (
            (not 0 <= card.epoch <= MAX_EPOCH, "epoch"),
            (not 0 <= card.parameters <= MAX_PARAMETERS, "parameters"),
            (not all(_PLAIN_NAME.fullmatch(name) for name in card.sha256), "sha256 names a file outside of the folder"),
            (not all(map(_finite, card.metrics)), "metrics: not finite"),
        ):
            if wrong:
                raise UserError(f"{where}: not a checkpoint card: {what}")
        if card.format_version > FORMAT_VERSION:
            raise UserError(
                f"{where}: written by a newer version (format {card.format_version}, "
                f"this one reads {FORMAT_VERSION}); update this package"
            )
        return card


def _finite(row: dict[str, Any]) -> bool:
    return all(not isinstance(value, float) or math.isfinite(value) for value in row.values())


def package_versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in _PACKAGES}


def git_commit() -> str | None:
    """The git commit of this code; None outside a checkout."""
    try:
        result = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except OSError:
        return None
    return result.stdout.strip() or None
