"""A run's folder: configuration, checkpoints, history. Local, s3:// or gs://.

config.json               the configuration, for `--config`
best/                     the checkpoint of the best epoch so far
checkpoints/epoch-0007/   the last few checkpoints, with the state from which a run resumes
answers/view-0003         with --views, what the teachers say of the third epoch's images
positions/epoch-0008-step-000120/   the same inside epoch 8, after 120 of its steps; removed when the epoch is over
history.parquet, .csv     a row per epoch
curves.png                the same as a picture
"""

import io
import json
import re
import shutil
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase as fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pyarrow import fs

from fer_data.errors import StorageError, UserError
from fer_data.storage import (
    UNFINISHED,
    delete_folder,
    exists,
    is_remote,
    is_vacant,
    join,
    read_file,
    redacted,
    reported,
    resolve,
    write_file,
)
from fer_models.card import Card
from fer_models.checkpoint_files import (
    MODEL_FILE,
    STATE_FILE,
    packed,
    publish_checkpoint,
    read_card,
    read_verified,
    verify,
)
from jobs.training.config import BEFORE_SELECT, TrainConfig
from jobs.training.schedule import History, best_row, learning_rate

CONFIG_FILE = "config.json"
OWN = (
    *("answers", "best", "checkpoints", "curves.png", "history.csv", "history.parquet", "mlflow.json", "positions"),
    *("profile", "ray_train", "tensorboard"),
)
"""What else a run writes into its folder."""
_EPOCH = re.compile(r"epoch-(\d{4,})")
_POSITION = re.compile(r"epoch-(\d{4,})-step-(\d{6,})")
_KEPT_POSITIONS = 2
"""If the newest is damaged, a run resumes from the one before."""


@dataclass(frozen=True)
class Saved:
    """A checkpoint or position at `uri`, from which a run resumes: `step` steps after the epoch of `card`."""

    uri: str
    card: Card
    step: int = 0


class RunFolder:
    """The folder of one run at `uri`, an absolute path or an s3:// or gs:// URI."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.best = join(uri, "best")
        self.history = join(uri, "history.csv")
        self.curves = join(uri, "curves.png")

    def checkpoint(self, epoch: int) -> str:
        return join(self.uri, "checkpoints", f"epoch-{epoch:04d}")

    def start(self, config: TrainConfig, data_fingerprint: str, *, overwrite: bool) -> None:
        """Claim the folder for `config`. Raises UserError when it holds something else.

        A run may be given more epochs than it had.
        """
        claim(
            *(self.uri, CONFIG_FILE, config.to_json().encode(), "run"),
            changed=lambda: self.changed(config, data_fingerprint),
            read=_read_whole,
            own=OWN,
            overwrite=overwrite,
        )

    def changed(self, config: TrainConfig, data_fingerprint: str) -> list[str]:
        """In words, what `config` would change in the run that has begun here."""
        latest = self.latest()
        other_data = latest and latest.card.data_fingerprint != data_fingerprint
        before = self.configuration()
        if before.epochs < config.epochs:
            before = replace(before, epochs=config.epochs)
        return differences(before, config) + ["the data"] * bool(other_data)

    def configuration(self) -> TrainConfig:
        """The configuration of the run that has begun here. Raises UserError when there is none."""
        return TrainConfig.read(join(self.uri, CONFIG_FILE), absent=BEFORE_SELECT)

    def extended(self, config: TrainConfig) -> list[str]:
        """What to say if `config` has more epochs than the run that has begun here; nothing if it has not."""
        before = self.configuration().epochs if exists(join(self.uri, CONFIG_FILE)) else config.epochs
        if before >= config.epochs or not (saved := self.latest()):
            return []
        done = len(saved.card.metrics)
        line = f"the run has {config.epochs} epochs now, {before} before"
        if config.schedule.schedule != "cosine" or not done:
            return [line]
        rates = [
            learning_rate(config.schedule, config.optimizer.learning_rate, epochs=epochs, progress=done)
            for epochs in (before, config.epochs)
        ]
        return [
            f"{line}: after epoch {done} the learning rate goes on at {rates[1]:.3g}, where it was at {rates[0]:.3g}"
        ]

    def epochs(self) -> list[int]:
        """The epochs that have a checkpoint folder, intact or not, in order."""
        matches = [_EPOCH.fullmatch(name) for name in _names_in(join(self.uri, "checkpoints"))]
        return sorted(int(match[1]) for match in matches if match)

    def position(self, epoch: int, step: int) -> str:
        return join(self.uri, "positions", f"epoch-{epoch:04d}-step-{step:06d}")

    def answers(self, view: int) -> str:
        return join(self.uri, "answers", f"view-{view:04d}")

    def positions(self) -> list[tuple[int, int]]:
        """Epoch and step of each position, intact or not, in order."""
        matches = [_POSITION.fullmatch(name) for name in _names_in(join(self.uri, "positions"))]
        return sorted((int(match[1]), int(match[2])) for match in matches if match)

    def latest(self, warn: Callable[[str], None] = lambda message: None) -> Saved | None:
        """The newest intact checkpoint or position; damaged ones are skipped with a warning."""
        places = [(epoch, 0, self.checkpoint(epoch)) for epoch in self.epochs()]
        places += [(epoch - 1, step, self.position(epoch, step)) for epoch, step in self.positions()]
        for _, step, uri in sorted(places, reverse=True):
            try:
                return Saved(uri, verify(uri), step)
            except UserError as damage:
                what = "position" if step else "checkpoint"
                warn(f"skipped {what} {uri.rpartition('/')[2]}: {damage}")
        return None

    def save_position(self, step: int, card: Card, arrays: dict[str, np.ndarray]) -> None:
        """Write the position of `step` steps after the epoch of `card`, and remove the oldest."""
        publish_checkpoint(self.position(card.epoch + 1, step), {STATE_FILE: packed(arrays)}, card)
        for old in self.positions()[:-_KEPT_POSITIONS]:
            delete_folder(self.position(*old))

    def publish(self, config: TrainConfig, history: History, keep: int) -> None:
        """Update everything else in the folder to the newest checkpoint, after an epoch or when a run resumes."""
        self.publish_best(config, history)
        self._write_history(history)
        for epoch in self.epochs()[:-keep]:
            delete_folder(self.checkpoint(epoch))
        for epoch, step in self.positions():
            if epoch <= len(history):
                delete_folder(self.position(epoch, step))
        if not is_remote(self.uri):  # Remove what a killed process was writing: this is the only writer now.
            for leftover in Path(self.uri).glob(f"**/{UNFINISHED}*"):
                if leftover.is_dir():
                    shutil.rmtree(leftover, ignore_errors=True)
                else:
                    leftover.unlink(missing_ok=True)

    def publish_best(self, config: TrainConfig, history: History) -> None:
        """Copy the best epoch's model to `best`, unless it is there already."""
        epoch = best_row(config, history)["epoch"]
        try:
            if read_card(self.best).epoch == epoch:
                return
        except UserError:
            pass  # No best yet, or an unfinished one.
        source = self.checkpoint(epoch)
        card = read_card(source)
        publish_checkpoint(self.best, {MODEL_FILE: read_verified(source, card, MODEL_FILE)}, card)

    def read_history(self) -> pd.DataFrame:
        """A row per finished epoch; no rows before the first."""
        return pd.read_csv(io.BytesIO(read_file(self.history)))

    def history_rows(self) -> list[dict[str, Any]]:
        """The history as plain values, with None for missing ones."""
        rows = self.read_history().to_dict("records")
        return [{str(k): None if v != v else v for k, v in row.items()} for row in rows]

    def _write_history(self, history: History) -> None:
        frame = history_frame(history)
        write_file(join(self.uri, "history.parquet"), frame.to_parquet(index=False))
        write_file(self.history, frame.to_csv(index=False).encode())


def _names_in(uri: str) -> list[str]:
    """The names of what is in the folder at `uri`; none if there is no folder."""
    filesystem, path = resolve(uri)
    return [entry.base_name for entry in filesystem.get_file_info(fs.FileSelector(path, allow_not_found=True))]


def _read_whole(uri: str) -> None:
    """Raises UserError unless the file at `uri` is the configuration of a run, which names every field."""
    TrainConfig.read(uri, absent=BEFORE_SELECT)
    if not {"model", "epochs", "optimizer"} <= json.loads(read_file(uri)).keys():
        raise UserError(f"{redacted(uri)}: not the configuration of a run")


def claim(
    uri: str,
    name: str,
    content: bytes,
    what: str,
    *,
    changed: Callable[[], list[str]],
    read: Callable[[str], object],
    own: Collection[str],
    overwrite: bool,
) -> None:
    """Begin, or go on with, a folder of a run or sweep: its file `name` says in `content` what it computes.

    Raises UserError if the folder holds something else, or if its settings have `changed`. With `overwrite` the folder
    is removed, if `read` can read its file `name` and it holds nothing but that and what matches a pattern of `own`.
    """
    begun = exists(join(uri, name))
    if not begun and not is_vacant(uri):
        raise UserError(f"{redacted(uri)} exists and is not a {what}: choose another --name")
    if overwrite:
        if begun:
            _check_own(uri, name, what, read, {name, *own})
        delete_folder(uri)
    elif begun and (differ := changed()):
        raise UserError(
            f"{redacted(uri)} holds a {what} with other settings ({'; '.join(differ)}): choose another --name, or "
            "discard it with --overwrite"
        )
    try:
        write_file(join(uri, name), content)
    except StorageError as error:
        raise StorageError(f"{error}; choose another --storage") from error


def _check_own(uri: str, name: str, what: str, read: Callable[[str], object], own: Collection[str]) -> None:
    """Raises UserError where the folder may be somebody else's, or hold what is."""
    try:
        read(join(uri, name))
    except UserError as error:
        raise UserError(f"{error}: this is no {what}, and is not overwritten") from None
    with reported(uri):
        filesystem, path = resolve(uri)
        found = sorted(entry.base_name for entry in filesystem.get_file_info(fs.FileSelector(path)))
    if strange := [entry for entry in found if not any(fnmatch(entry, each) for each in (*own, f"{UNFINISHED}*"))]:
        raise UserError(f"{redacted(uri)} holds {strange[0]}, which no {what} writes: it is not overwritten")


def history_frame(rows: History) -> pd.DataFrame:
    """The rows as a table; a column without any value yet has the type float."""
    frame = pd.DataFrame(list(rows))
    return frame.astype({name: float for name in frame if frame[name].isna().all()})


def differences(before: TrainConfig, after: TrainConfig) -> list[str]:
    """The options that differ, as `name before -> after`, except for where and how the data were read."""
    one, other, read = before.flat(), after.flat(), ("data", "resize")
    return [f"{name} {one[name]} -> {other[name]}" for name in one if one[name] != other[name] and name not in read]
