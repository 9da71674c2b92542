"""The folder of a report, hidden while unfinished and renamed when complete.

    .x.unfinished-0123abcd…/predictions/*.parquet    one file per unit of work, written in one step
                            corrupted/*.parquet      the same for corrupted images; not published
                            about.json               parameters and warnings of the checkpoints; not published

Its name ends in the key of the request, so that the same request resumes in it. Object stores have no rename: a report
for one is written to the local cache and uploaded, run.json last.
"""

import fcntl
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from fer_data.errors import UserError
from fer_data.prepare import cache_folder
from fer_data.storage import is_remote, join, read_file, redacted, reported, resolve, write_file
from jobs.evaluation.scoring.units import Unit

RUN_FILE = "run.json"
_ENDINGS = (".parquet", ".png", ".html", ".json", ".csv")
"""Of the files of a report."""
_MARK = ".unfinished-"
_AS_IT_IS = os.O_NOFOLLOW | os.O_NONBLOCK  # A pipe would keep us waiting.


class ReportFolder(AbstractContextManager):
    """The unfinished report of the request with `key`, to be published at `target`; a context manager that locks it.

    Raises UserError when `target` exists and may not be replaced, when its parent is not writable, and when another
    process has the same request.
    """

    def __init__(self, target: str, key: str, *, overwrite: bool) -> None:
        self._target, self._overwrite = target, overwrite
        check_target(target, overwrite)
        self._place = Path(target)
        if is_remote(target):
            name = hashlib.sha256(target.encode()).hexdigest()[:16]
            self._place = cache_folder().with_name("fer_evaluation") / name
        # These are removed again if nothing gets scored.
        self._parents = [parent for parent in self._place.parents if not parent.exists()]
        self.folder = self._place.with_name(f".{self._place.name}{_MARK}{key}")
        try:
            (self.folder / "predictions").mkdir(parents=True, exist_ok=True)
            (self.folder / "corrupted").mkdir(exist_ok=True)
            self._lock = _lock_file(self.folder)  # Held until the process ends.
        except OSError as error:
            what, mend = f"the report {target}", "choose another --out"
            if is_remote(target):
                what, mend = f"the cache {self.folder}", "let XDG_CACHE_HOME name a folder that can be written"
            raise UserError(f"cannot write {what}: {error.strerror}: {mend}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise UserError(f"{target}: another process is writing this report: wait for it or stop it") from None

    def __exit__(self, *_: object) -> None:
        for name in ("predictions", "corrupted"):
            for leftover in (self.folder / name).glob(".writing-*"):
                leftover.unlink(missing_ok=True)
        predictions = self.folder / "predictions"
        if predictions.exists() and not any(predictions.iterdir()):  # There is nothing to resume.
            shutil.rmtree(self.folder, ignore_errors=True)
            with suppress(OSError):  # Another report is in a parent by now.
                for parent in self._parents:
                    parent.rmdir()
        self._lock.close()

    @property
    def name(self) -> str:
        """The name that the report will have."""
        return self._target.rpartition("/")[2]

    def path(self, kind: str, unit: Unit) -> Path:
        """The unit's file; `kind` is predictions or corrupted."""
        return self.folder / kind / unit.file_name

    def has(self, unit: Unit, contenders: int, *, corruptions: bool) -> bool:
        """Whether the unit is scored: its files exist, and its predictions have a row per contender and image."""
        if corruptions and not self.path("corrupted", unit).exists():
            return False
        try:
            kept = pq.read_table(self.path("predictions", unit), columns=list(unit.counted_by))
        except (OSError, pa.ArrowException):
            return False
        return unit.images_in(kept) == unit.rows * contenders

    def keep(self, unit: Unit, predictions: pa.Table, corrupted: pa.Table) -> None:
        """Write the results of a unit. The predictions come last: they mark the unit as scored."""
        if corrupted.num_rows:
            self.write_table(f"corrupted/{unit.file_name}", corrupted)
        self.write_table(f"predictions/{unit.file_name}", predictions)

    def write_table(self, name: str, table: pa.Table) -> None:
        self.write(name, parquet_bytes(table))

    def write(self, name: str, content: bytes) -> None:
        """Write the file `name` of the report, complete or not at all."""
        with reported(self._target, "write the report"):
            write_file(str(self.folder / name), content)

    def remember(self, about: Mapping[str, Any]) -> None:
        """Keep what the actors report, for a run that resumes when every unit is scored."""
        self.write("about.json", json.dumps(about, indent=1).encode())

    def recall(self) -> dict[str, Any]:
        """What `remember` kept, or an empty dictionary."""
        try:
            return json.loads((self.folder / "about.json").read_text())
        except (OSError, ValueError):
            return {}

    def publish(self, units: Sequence[Unit]) -> None:
        """Move the report to its target, with the predictions of `units` and without the files for resuming.

        Removes unfinished reports of other requests for the same target.
        """
        wanted = {unit.file_name for unit in units}
        for path in (self.folder / "predictions").iterdir():
            if path.name not in wanted:
                path.unlink()
        shutil.rmtree(self.folder / "corrupted")
        for name in ("about.json", ".lock"):
            (self.folder / name).unlink(missing_ok=True)
        check_target(self._target, self._overwrite)
        with reported(self._target, "write the report"):
            if is_remote(self._target):
                _upload(self.folder, self._target)
                shutil.rmtree(self.folder)
            else:
                self._rename()
        for other in self._place.parent.glob(f".{self._place.name}{_MARK}*"):
            _remove_unless_locked(other)

    def _rename(self) -> None:
        old = self._place.with_name(f".{self._place.name}.replaced-{uuid.uuid4().hex}")
        if self._place.exists():
            self._place.rename(old)
        self.folder.rename(self._place)
        shutil.rmtree(old, ignore_errors=True)


def parquet_bytes(table: pa.Table) -> bytes:
    """A Parquet file. Equal tables give equal bytes."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue().to_pybytes()


def check_target(target: str, overwrite: bool) -> None:
    """Raises UserError when a report may not be published at `target`."""
    if is_remote(target):
        with reported(target):
            filesystem, path = resolve(target)
            names = {entry.base_name for entry in filesystem.get_file_info(fs.FileSelector(path, allow_not_found=True))}
    elif not os.path.lexists(target):
        return
    elif not os.path.isdir(target):
        raise UserError(f"{target} is a file: give a folder for the report")
    else:
        with reported(target):
            names = set(os.listdir(target)) | {""}
    if names and not overwrite:
        raise UserError(f"{redacted(target)} exists: choose another --out, or replace it with --overwrite")
    if names - {""} and RUN_FILE not in names:
        raise UserError(f"{redacted(target)} exists and is not a report: choose another --out")
    if names - {""}:
        _check_own(target, names - {""})


def _check_own(target: str, names: set[str]) -> None:
    """Raises UserError where the folder is not what an evaluation wrote, or holds more than that."""
    try:
        ours = "checkpoints" in json.loads(read_file(join(target, RUN_FILE)))
    except (ValueError, TypeError):
        ours = False
    if not ours:
        raise UserError(f"{redacted(target)}: its {RUN_FILE} is not that of a report: it is not overwritten")
    strange = sorted(name for name in names if name != "predictions" and not name.endswith(_ENDINGS))
    if strange:
        raise UserError(f"{redacted(target)} holds {strange[0]}, which no report has: it is not overwritten")


def _upload(folder: Path, target: str) -> None:
    filesystem, path = resolve(target)
    if filesystem.get_file_info(f"{path}/{RUN_FILE}").type != fs.FileType.NotFound:
        filesystem.delete_file(f"{path}/{RUN_FILE}")  # An upload that stops leaves no report.
        filesystem.delete_dir_contents(path)
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.name != RUN_FILE)
    for file in [*files, folder / RUN_FILE]:
        with filesystem.open_output_stream(f"{path}/{file.relative_to(folder).as_posix()}") as stream:
            stream.write(file.read_bytes())


def _lock_file(folder: Path) -> IO[str]:
    """The file to lock in `folder`; what a link there leads to stays as it is."""
    return open(folder / ".lock", "a", opener=lambda path, flags: os.open(path, flags | _AS_IT_IS, 0o666))


def _remove_unless_locked(folder: Path) -> None:
    # OSError: another process has it locked, or it is gone.
    with suppress(OSError), _lock_file(folder) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
