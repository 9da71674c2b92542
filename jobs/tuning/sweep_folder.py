"""A sweep's folder: its settings, a run folder for every trial, and the results. Local, s3:// or gs://.

sweep.json              the search space and the configuration around which it is searched
trials/0003/            the run of trial 3 (see jobs.training.run_folder), with two more files:
  trial.json            the options that it changes
  outcome.json          how it ended, if it has
best/config.json        the configuration of the best trial, for `--config` of the training jobs
best/checkpoint/        its best epoch
best/comparison.json    its accuracy beside that of the first trial, on the same images
trials.parquet, .csv    a row per trial
history.parquet         a row per trial and epoch
report.html             the page
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pyarrow import fs

from fer_data.errors import UserError
from fer_data.storage import delete_folder, exists, join, one_line, read_file, redacted, reported, resolve, write_file
from jobs.training import run_folder
from jobs.training.config import BEFORE_SELECT, TrainConfig
from jobs.training.run_folder import RunFolder, claim
from jobs.training.schedule import best_row
from jobs.tuning.options import SchedulerConfig, SearchOptions
from jobs.tuning.spaces import Parameters, Space, differences, to_json

SETTINGS, TRIAL, OUTCOME = "sweep.json", "trial.json", "outcome.json"
FORMAT_VERSION = 1
OWN = (
    *("best", "history.parquet", "trials", "trials.csv", "trials.parquet", "report.html", "ray_tune"),
    *("best_so_far.png", "learning_curves.png", "parallel_coordinates.png", "importance.png", "parameter-*.png"),
)
"""What else a sweep writes into its folder."""


@dataclass(frozen=True)
class Outcome:
    """How a trial ended: `why` in words, and the `error` of a failed trial."""

    why: str
    error: str | None = None


@dataclass(frozen=True)
class Trial:
    """A trial as recorded in its folder: `history` has a row per finished epoch; `outcome` is None until it is over."""

    name: str
    parameters: Parameters
    history: list[dict[str, Any]]
    outcome: Outcome | None

    def best(self, config: TrainConfig) -> dict[str, Any] | None:
        """The row of its best epoch by the metric that `config` monitors; None before the first epoch."""
        return best_row(config, self.history) if self.history else None


class SweepFolder:
    """The folder of one sweep at `uri`, an absolute path or an s3:// or gs:// URI."""

    def __init__(self, uri: str) -> None:
        self.uri = uri

    def start(self, settings: Mapping[str, Any], *, overwrite: bool) -> None:
        """Claim the folder for a sweep of `settings`. Raises UserError, with the differences, if another has it."""

        def changed() -> list[str]:
            return _changes(self._json(SETTINGS), settings)

        def read(uri: str) -> None:
            before = self._json(SETTINGS)
            if not {"space", "base"} <= before.keys():
                raise UserError(f"{redacted(uri)}: not a file of a sweep")

        claim(
            *(self.uri, SETTINGS, _dump(settings), "sweep"),
            changed=changed,
            read=read,
            own=OWN,
            overwrite=overwrite,
        )

    def run(self, trial: str) -> RunFolder:
        return RunFolder(join(self.uri, "trials", trial))

    def has_begun(self, trial: str) -> bool:
        return exists(join(self.uri, f"trials/{trial}/{TRIAL}"))

    def begin(self, trial: str, parameters: Parameters) -> None:
        write_file(join(self.uri, "trials", trial, TRIAL), _dump({"parameters": parameters}))

    def finish(self, trial: str, outcome: Outcome) -> None:
        write_file(join(self.uri, "trials", trial, OUTCOME), _dump(asdict(outcome)))

    def discard(self, trial: str) -> None:
        """Remove all of a trial that begins anew."""
        delete_folder(self.run(trial).uri)

    def clear(self, trial: str) -> None:
        """Remove what only a running trial needs: all checkpoints but the best, and Ray's own files."""
        for leftover in ("checkpoints", "ray_train"):
            delete_folder(join(self.uri, "trials", trial, leftover))

    def trials(self) -> list[Trial]:
        """All trials that have begun, in order."""
        filesystem, path = resolve(join(self.uri, "trials"))
        with reported(self.uri):
            entries = filesystem.get_file_info(fs.FileSelector(path, allow_not_found=True))
        names = sorted(entry.base_name for entry in entries if entry.type == fs.FileType.Directory)
        return [self._trial(name) for name in names if self.has_begun(name)]

    def _trial(self, name: str) -> Trial:
        parameters = self._json(f"trials/{name}/{TRIAL}")["parameters"]
        over = exists(join(self.uri, f"trials/{name}/{OUTCOME}"))
        outcome = Outcome(**self._json(f"trials/{name}/{OUTCOME}")) if over else None
        return Trial(name, parameters, self.history(name), outcome)

    def history(self, trial: str) -> list[dict[str, Any]]:
        """A row per finished epoch of the trial, as in its history.csv."""
        run = self.run(trial)
        return run.history_rows() if exists(run.history) else []

    def _json(self, name: str) -> dict[str, Any]:
        uri = join(self.uri, name)
        try:
            values = json.loads(read_file(uri))
        except ValueError as error:
            raise UserError(f"{redacted(uri)}: not JSON: {one_line(error)}") from None
        if not isinstance(values, dict):
            raise UserError(f"{redacted(uri)}: not a file of a sweep")
        return values


@dataclass(frozen=True)
class Sweep:
    """The search around the configuration `base`, and the folder of the results."""

    folder: SweepFolder
    base: TrainConfig
    space: Space
    search: SearchOptions
    scheduler: SchedulerConfig


def settings(
    base: TrainConfig, space: Space, *, search: str, scheduler: Mapping[str, Any], data_fingerprint: str
) -> dict[str, Any]:
    """The content of sweep.json, which identifies a sweep. The number and place of its trials are not part of it."""
    return {
        "format_version": FORMAT_VERSION,
        "search": search,
        "scheduler": dict(scheduler),
        "data_fingerprint": data_fingerprint,
        "space": to_json(space),
        "base": json.loads(base.to_json()),
    }


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    if before.get("format_version") != FORMAT_VERSION:
        return ["the version of the program"]
    changed = differences(before.get("space", {}), after["space"])
    one, other = (TrainConfig.from_dict(BEFORE_SELECT | v.get("base", {}), SETTINGS) for v in (before, after))
    changed += run_folder.differences(one, other)
    if before.get("data_fingerprint") != after["data_fingerprint"]:
        changed.append("the data")
    for name in ("search", "scheduler"):
        if before.get(name) != after[name]:
            changed.append(f"{name} {_words(before.get(name))} -> {_words(after[name])}")
    return changed


def _words(value: Any) -> str:
    return " ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)


def _dump(values: Mapping[str, Any]) -> bytes:
    return (json.dumps(values, indent=1) + "\n").encode()
