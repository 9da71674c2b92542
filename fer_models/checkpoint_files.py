"""The files of a checkpoint: written as a whole, verified when read. Needs neither Keras nor TensorFlow.

    model.keras          the whole network, raw pixels in, probabilities out
    training_state.npz   all variables of the network in training and of its optimizer (while training)
    model.tflite …       exported files
    card.json            the description, with the SHA-256 of every other file; written last

A folder whose files do not match a card is not a checkpoint: its writer died, or it was damaged later.
"""

import errno
import hashlib
import io
import os
import shutil
import uuid
from dataclasses import replace
from pathlib import Path

import numpy as np
from pyarrow import fs

from fer_data.errors import UserError
from fer_data.storage import UNFINISHED, exists, is_remote, join, read_file, redacted, reported, resolve
from fer_models.card import Card

MODEL_FILE = "model.keras"
STATE_FILE = "training_state.npz"
CARD_FILE = "card.json"


def publish_checkpoint(uri: str, files: dict[str, bytes], card: Card) -> Card:
    """Write a checkpoint at `uri`, replacing any other; returns the card with the digests of `files`.

    The checkpoint appears complete or not at all: a local folder is renamed, and of a remote one the card is deleted
    first and written last. Raises UserError when storage fails (no space, no permission), and leaves nothing behind.
    """
    card = replace(card, sha256={name: _sha256(content) for name, content in files.items()})
    content = files | {CARD_FILE: card.to_json().encode()}
    with reported(uri, "write a checkpoint to"):
        filesystem, path = resolve(uri)
        if is_remote(uri):
            if filesystem.get_file_info(f"{path}/{CARD_FILE}").type != fs.FileType.NotFound:
                filesystem.delete_file(f"{path}/{CARD_FILE}")
            for name, data in content.items():
                with filesystem.open_output_stream(f"{path}/{name}") as stream:
                    stream.write(data)
        else:
            _publish_local(Path(path), content)
    return card


def packed(arrays: dict[str, np.ndarray]) -> bytes:
    """The content of a STATE_FILE with `arrays`."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def add_files(uri: str, files: dict[str, bytes], card: Card) -> Card:
    """Write the checkpoint at `uri` again, with `files` added and `card` in place of its card."""
    own = {name: read_verified(uri, card, name) for name in card.sha256 if name not in files}
    return publish_checkpoint(uri, own | files, card)


def read_card(uri: str) -> Card:
    """The card of the checkpoint at `uri`. Raises UserError when there is none."""
    try:
        content = read_file(join(uri, CARD_FILE))
    except UserError as error:
        if getattr(error.__cause__, "errno", None) in (errno.ENOENT, errno.ENOTDIR):
            raise UserError(no_checkpoint(uri)) from None
        raise
    return Card.from_json(content, redacted(join(uri, CARD_FILE)))


def no_checkpoint(uri: str) -> str:
    """What to say of a folder without a card, of a file, or of nothing, at `uri`."""
    if not exists(uri):
        return f"{redacted(uri)} does not exist: check the path"
    inside = join(uri, "best")
    mend = f": give {redacted(inside)}" if exists(join(inside, CARD_FILE)) else ""
    return f"{redacted(uri)} is not a checkpoint: it has no {CARD_FILE}{mend}"


def verify(uri: str) -> Card:
    """Check every file of the checkpoint against its card, and return the card. Raises UserError when one differs."""
    card = read_card(uri)
    for name in card.sha256:
        read_verified(uri, card, name)
    return card


def read_verified(uri: str, card: Card, name: str) -> bytes:
    """The content of the checkpoint's file `name`. Raises UserError when it does not match `card`."""
    if name not in card.sha256 or Path(name).name != name:
        raise UserError(f"{redacted(uri)}: its card lists no {name}: not a complete checkpoint")
    content = read_file(join(uri, name))
    if _sha256(content) != card.sha256[name]:
        where = redacted(join(uri, name))
        raise UserError(f"{where} does not match its card: it is damaged or was changed; copy it again")
    return content


def _publish_local(target: Path, content: dict[str, bytes]) -> None:
    temporary = target.with_name(f"{UNFINISHED}{uuid.uuid4().hex}")
    try:
        temporary.mkdir(parents=True)
        for name, data in content.items():
            with open(temporary / name, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        if target.exists():
            old = temporary.with_name(f"{temporary.name}.old")
            target.rename(old)
            temporary.rename(target)
            shutil.rmtree(old)
        else:
            temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
