"""Where a prepared data set may be written, and how it becomes visible: when it is complete.

A local data set is written to a temporary folder beside its place and then renamed. What killed programs left there,
the next one that writes there removes. An object store has no rename: there manifest.json, written last, makes a folder
a data set.
"""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pyarrow import fs

from fer_data.errors import UserError
from fer_data.manifest import MANIFEST, REJECTED
from fer_data.near_copies.table import NEAR_COPIES
from fer_data.scratch import scratch_folder, try_writing
from fer_data.storage import is_remote, redacted, reported, resolve


@contextmanager
def published(out: str, overwrite: bool) -> Iterator[str]:
    """Where to write the data set `out`: it is moved to its place, complete, when the block ends without an error."""
    check_destination(out, overwrite)
    if is_remote(out):
        _clear_remote(out)
        try:
            yield out
        except BaseException:
            _clear_remote(out)
            raise
        return
    final = Path(out)
    with ExitStack() as stack:
        with reported(out, "write"):
            final.parent.mkdir(parents=True, exist_ok=True)
            temporary = Path(stack.enter_context(scratch_folder(str(final.parent))), final.name)
            temporary.mkdir()
        yield str(temporary)
        with reported(out, "write"):
            _replace_folder(temporary, final, overwrite)


def check_destination(out: str, overwrite: bool) -> None:
    """Raises UserError when a data set may not be written to `out`: see `write_dataset`.

    An empty folder may be written to. With `overwrite`, so may one that contains a prepared data set and nothing else.
    """
    filesystem, path = resolve(out)
    if not is_remote(out):
        _check_can_be_made(path)
    with reported(out):
        info = filesystem.get_file_info(path)
        if info.type == fs.FileType.NotFound:
            return
        if info.type == fs.FileType.File:
            raise UserError(f"{redacted(out)} is a file: name a folder for the prepared data set")
        names = [entry.base_name for entry in filesystem.get_file_info(fs.FileSelector(path))]
    if names and not overwrite:
        raise UserError(f"{redacted(out)} exists already: choose another folder, or --overwrite it")
    foreign = sorted(name for name in names if not _is_ours(name))
    if foreign:
        raise UserError(f"{redacted(out)} contains {foreign[0]}, which no data set has: it is not overwritten")


def _check_can_be_made(path: str) -> None:
    """Raises UserError when no folder can be made beside `path`, before a long search for near copies."""
    parent = next(parent for parent in Path(path).parents if parent.exists())
    try:
        try_writing(parent)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}: name another folder") from error


def _is_ours(name: str) -> bool:
    return name in (MANIFEST, REJECTED, NEAR_COPIES) or (name.startswith("part-") and name.endswith(".parquet"))


def _clear_remote(out: str) -> None:
    filesystem, path = resolve(out)
    with reported(out, "write"):
        found = filesystem.get_file_info(fs.FileSelector(path, allow_not_found=True))
        # The manifest goes first: a folder without one is no data set.
        for info in sorted(found, key=lambda info: info.base_name != MANIFEST):
            if info.type == fs.FileType.File and _is_ours(info.base_name):
                filesystem.delete_file(info.path)


def _replace_folder(temporary: Path, final: Path, overwrite: bool) -> None:
    if not overwrite or not final.exists():
        os.rename(temporary, final)  # fails if someone else has filled `final` in the meantime
        return
    # Not in the temporary folder, which may be removed: if this program ends between the two, nothing is lost.
    old = final.with_name(f".{final.name}.{uuid.uuid4().hex[:8]}.old")
    os.rename(final, old)
    try:
        os.rename(temporary, final)
    except OSError:
        os.rename(old, final)
        raise
    shutil.rmtree(old, ignore_errors=True)
