"""What a prediction scores. run.json keeps its description; its key finds an interrupted run again."""

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from fer_data.errors import UserError
from fer_data.pictures import FORMS, Pictures, open_pictures
from fer_data.prepare import content_key
from fer_data.storage import absolute, is_remote, redacted
from fer_models.card import git_commit, package_versions
from jobs.evaluation.scoring.contenders import Contender, contenders_from
from jobs.prediction.options import PredictOptions

PREDICTION_VERSION = 1
"""Part of the key: raise it when the predictions change, so that no run resumes with older ones."""
_OPTIONS = ("faces", "tta", "precision", "batch_size", "classes", "class_names", "input_range")


@dataclass(frozen=True)
class PredictionRequest:
    """The `contenders` to be run on `pictures`, as `options` say. `content` is a digest of what the pictures are."""

    options: PredictOptions
    contenders: tuple[Contender, ...]
    pictures: Pictures
    content: str

    @classmethod
    def from_options(cls, options: PredictOptions) -> "PredictionRequest":
        """Open and check what `options` name. Raises UserError for bad input."""
        uri, out = absolute(options.input), absolute(options.out)
        if not is_remote(uri) and f"{out}/".startswith(f"{uri.rstrip('/')}/"):
            raise UserError(f"--out {redacted(out)} lies in the pictures' folder: choose another --out")
        contenders = contenders_from(options.checkpoint)
        content = content_key(uri, "pictures", FORMS)
        pictures = open_pictures(uri)
        if pictures.are_faces and options.faces == "detect":
            raise UserError(
                f"--faces detect: {redacted(uri)} holds 48x48 faces, in which none can be looked for: leave it out"
            )
        return cls(options, contenders, pictures, content)

    @cached_property
    def description(self) -> dict[str, Any]:
        """Everything that the predictions depend on."""
        return {
            "prediction_version": PREDICTION_VERSION,
            "checkpoints": [asdict(c) | {"uri": redacted(c.uri)} for c in self.contenders],
            "input": {"uri": redacted(self.pictures.uri), "content": self.content},
            **{name: getattr(self.options, name) for name in _OPTIONS},
            "versions": package_versions(),
            "git_commit": git_commit(),
        }

    @property
    def key(self) -> str:
        """16 hexadecimal digits, equal for requests with equal predictions."""
        checkpoints = [{**checkpoint, "uri": ""} for checkpoint in self.description["checkpoints"]]
        decisive = self.description | {"input": self.content, "checkpoints": checkpoints, "git_commit": None}
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:16]
