"""What an evaluation scores. run.json keeps its description; its key finds an interrupted run again."""

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from rich.console import Console

from fer_data.dataset import PreparedDataset
from fer_data.near_copies.table import NEAR_COPIES
from fer_data.storage import join, read_file, redacted
from fer_models.card import git_commit, package_versions
from jobs.data import open_data
from jobs.evaluation.options import EvaluateOptions
from jobs.evaluation.scoring.contenders import ENSEMBLE, Contender, contenders_from
from jobs.evaluation.scoring.shards import Shard, check_labels, plan_shards

SCORING_VERSION = 2
"""Part of the key: raise it when the predictions change, so that no run resumes with older ones."""
_OPTIONS = ("protocol", "tta", "corruptions", "precision", "batch_size", "classes", "class_names", "input_range")
"""Those that predictions depend on, beside the splits."""


@dataclass(frozen=True)
class Request:
    """The `contenders` to be scored on the rows of `dataset` that `shards` hold, as `options` say."""

    options: EvaluateOptions
    contenders: tuple[Contender, ...]
    dataset: PreparedDataset
    shards: tuple[Shard, ...]

    @classmethod
    def from_options(cls, options: EvaluateOptions, console: Console) -> "Request":
        """Open and check what `options` name. Raises UserError for bad input."""
        contenders = contenders_from(options.checkpoint, ensemble=options.ensemble)
        dataset = open_data(options.data, console, resize=options.resize)
        shards = plan_shards(dataset, options.split, options.protocol)
        check_labels(dataset, shards)
        return cls(options, contenders, dataset, tuple(shards))

    @property
    def labels(self) -> dict[str, str]:
        """By the name of a contender, the short name that people see."""
        return {contender.name: contender.label for contender in self.contenders}

    @property
    def models(self) -> int:
        """How many of the contenders are models of their own; the ensemble is not, and comes last."""
        return sum(contender.kind != ENSEMBLE for contender in self.contenders)

    @cached_property
    def description(self) -> dict[str, Any]:
        """Everything that the predictions depend on."""
        options, dataset = self.options, self.dataset
        return {
            "scoring_version": SCORING_VERSION,
            "checkpoints": [asdict(c) | {"uri": redacted(c.uri)} for c in self.contenders],
            "data": {
                "uri": redacted(dataset.uri),
                "source": dataset.manifest.source,
                "fingerprint": dataset.manifest.fingerprint,
                "near_copies": self._near_copies_digest(),
            },
            "splits": list(options.split),
            **{name: getattr(options, name) for name in _OPTIONS},
            "versions": package_versions(),
            "git_commit": git_commit(),
        }

    @property
    def key(self) -> str:
        """16 hexadecimal digits, equal for requests with equal predictions, wherever the files are."""
        data = {name: self.description["data"][name] for name in ("fingerprint", "near_copies")}
        checkpoints = [{**checkpoint, "uri": ""} for checkpoint in self.description["checkpoints"]]
        decisive = self.description | {"data": data, "checkpoints": checkpoints, "git_commit": None}
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:16]

    def _near_copies_digest(self) -> str | None:
        """Of the table of near copies, which the fingerprint does not cover; None where they were not looked for."""
        if not self.dataset.manifest.near_copies:
            return None
        return hashlib.sha256(read_file(join(self.dataset.uri, NEAR_COPIES))).hexdigest()[:16]
