"""The models under evaluation: for each its name in the tables, the kind of its file and a digest of the content."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pyarrow import fs

from fer_data.errors import UserError
from fer_data.storage import absolute, join, redacted, reported, resolve
from fer_models.checkpoint_files import CARD_FILE, MODEL_FILE, no_checkpoint, verify

ENSEMBLE = "ensemble"
KERAS_KINDS = ("checkpoint", "keras")
"""Kinds of Contender that run in TensorFlow."""
KINDS = {".keras": "keras", ".h5": "keras", ".hdf5": "keras", ".tflite": "tflite", ".onnx": "onnx"}


@dataclass(frozen=True)
class Contender:
    """One model under evaluation.

    `name` identifies it in the tables: the path as given, or NAME of NAME=PATH. `label` is what people see: NAME, or
    the shortest end of the path that no other contender shares. `kind` is checkpoint, keras, tflite, onnx or ensemble.
    `protocol` is the split protocol of its training, None where no card states it.
    """

    name: str
    label: str
    uri: str
    kind: str
    digest: str
    protocol: str | None = None


def contenders_from(arguments: Sequence[str], *, ensemble: bool = False) -> tuple[Contender, ...]:
    """The models at `arguments` (each PATH or NAME=PATH), in order, then their ensemble if `ensemble` is set.

    Raises UserError for a path that is missing, damaged or of an unknown kind, and for a name that occurs twice.
    """
    found: list[Contender] = []
    for argument in arguments:
        name, equals, path = argument.partition("=")
        if not equals or "/" in name or os.path.exists(argument):
            name, path = "", argument
        uri = absolute(path)
        kind, digest, protocol = _examine(uri)
        shown = name or redacted(path.rstrip("/"))
        found.append(Contender(shown, name, uri, kind, digest, protocol))
    names = [contender.name for contender in found] + ([ENSEMBLE] if ensemble else [])
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"two checkpoints are called {name}: tell them apart with NAME=PATH")
    if ensemble and len(found) < 2:
        raise UserError("--ensemble averages checkpoints: give two or more")
    labels = _short_labels([contender.uri for contender in found])
    found = [replace(c, label=c.label or label) for c, label in zip(found, labels, strict=True)]
    if ensemble:
        digest = hashlib.sha256("".join(c.digest for c in found).encode()).hexdigest()
        found.append(Contender(ENSEMBLE, f"{ENSEMBLE} of {len(found)}", "", ENSEMBLE, digest))
    return tuple(found)


def trained_on(contender: Contender, splits: Sequence[str], protocol: str) -> list[str]:
    """Those of `splits` under `protocol` with rows that the checkpoint was trained on, according to its card."""
    seen = {"training"}
    if contender.protocol == "challenge" and protocol == "notebook":
        seen.add("validation")  # The notebook takes its validation rows from the training rows of the challenge.
    return [split for split in splits if contender.protocol and split in seen]


def _examine(uri: str) -> tuple[str, str, str | None]:
    """Kind, digest and training protocol of the model at `uri`."""
    with reported(uri):
        filesystem, path = resolve(uri)
        kind = filesystem.get_file_info(path).type
        has_card = filesystem.get_file_info(f"{path}/{CARD_FILE}").type == fs.FileType.File
    if kind == fs.FileType.NotFound and not has_card:
        raise UserError(no_checkpoint(uri))
    if has_card:
        card = verify(uri)
        return "checkpoint", card.sha256[MODEL_FILE], card.protocol
    if kind == fs.FileType.Directory:
        raise UserError(no_checkpoint(uri))
    suffix = "." + uri.rpartition(".")[2].lower()
    if suffix not in KINDS:
        raise UserError(f"{redacted(uri)}: give a checkpoint folder or a file that ends in {', '.join(KINDS)}")
    return KINDS[suffix], _file_digest(uri), None


def _file_digest(uri: str) -> str:
    with reported(uri):
        filesystem, path = resolve(uri)
        with filesystem.open_input_stream(path) as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()


def _short_labels(uris: Sequence[str]) -> list[str]:
    """For each path, the fewest last components that no other path ends in."""
    pieces = [[piece for piece in uri.split("/") if piece] for uri in uris]
    labels = []
    for own in pieces:
        length = next(
            (n for n in range(1, len(own) + 1) if sum(other[-n:] == own[-n:] for other in pieces) == 1), len(own)
        )
        # Every run has a folder `best`: the label needs the name of the run.
        length = min(len(own), max(length, 2)) if own[-1] in ("best", "final") else length
        labels.append(join(*own[-length:]) if length > 1 else own[-1])
    return labels
