"""What is asked of an evaluation, as run.json keeps it; its key finds an interrupted run again."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from fer_data.dataset import PreparedDataset
from fer_data.storage import redacted
from fer_models.card import git_commit, package_versions
from jobs.evaluation.contenders import Contender
from jobs.evaluation.options import EvaluateOptions

SCORING_VERSION = 1
"""Another number, and nothing that an earlier version scored is taken up again."""


def describe(options: EvaluateOptions, contenders: Sequence[Contender], dataset: PreparedDataset) -> dict[str, Any]:
    """All that decides what the predictions are."""
    return {
        "scoring_version": SCORING_VERSION,
        "checkpoints": [asdict(c) | {"uri": redacted(c.uri)} for c in contenders],
        "data": {
            "uri": redacted(dataset.uri),
            "source": dataset.manifest.source,
            "fingerprint": dataset.manifest.fingerprint,
        },
        "splits": list(options.split),
        "protocol": options.protocol,
        "tta": options.tta,
        "corruptions": options.corruptions,
        "precision": options.precision,
        "batch_size": options.batch_size,
        "classes": options.classes,
        "versions": package_versions(),
        "git_commit": git_commit(),
    }


def key_of(request: dict[str, Any]) -> str:
    """16 hexadecimal digits, equal for requests whose predictions are equal, wherever the files lie."""
    data = {"fingerprint": request["data"]["fingerprint"]}
    checkpoints = [{**checkpoint, "uri": ""} for checkpoint in request["checkpoints"]]
    decisive = request | {"data": data, "checkpoints": checkpoints, "git_commit": None}
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:16]
