"""Where a local path, `s3://…` or `gs://…` lives: one pyarrow file system and a path inside it.

S3 takes its keys, region and endpoint from the usual AWS_* variables (AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL for
MinIO, moto and the like), GCS from Google's application default credentials.
"""

import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import IO
from urllib.parse import unquote, urlsplit

from pyarrow import ArrowException, fs

from fer_data.errors import StorageError, UserError
from fer_data.text import one_line, printable, redacted

__all__ = [
    "UNFINISHED",
    "absolute",
    "delete_folder",
    "exists",
    "is_remote",
    "is_vacant",
    "join",
    "one_line",
    "opened",
    "printable",
    "read_file",
    "redacted",
    "reported",
    "resolve",
    "write_file",
]
# `one_line`, `printable` and `redacted` are of `text`: whoever reads a file names it in messages.

UNFINISHED = ".writing-"
"""The prefix of files and folders that are still being written."""
_BUCKET = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*)://")


def is_remote(uri: str) -> bool:
    """Whether `uri` names an object store rather than a path on this machine."""
    match = _SCHEME.match(uri)
    return match is not None and match[1].lower() != "file"


def absolute(uri: str | os.PathLike[str]) -> str:
    """`uri` in a form that means the same in every process: local paths become absolute.

    Raises UserError for an empty path and for one that contains a zero byte.
    """
    text = os.fspath(uri)
    if not text.strip():
        raise UserError("the path is empty: give a folder, a file, or an s3:// or gs:// URI")
    if "\0" in text:
        raise UserError(f"{text!r} contains a zero byte: no path may")
    if is_remote(text):
        scheme, _, path = text.partition("://")
        return f"{scheme}://{path.rstrip('/')}"
    match = _SCHEME.match(text)
    try:
        local = unquote(urlsplit(text).path) if match else text
    except ValueError as error:
        raise UserError(f"{text} is no URL of a file: {error}") from None
    return os.path.abspath(Path(local).expanduser())


def resolve(uri: str | os.PathLike[str]) -> tuple[fs.FileSystem, str]:
    """The file system that holds `uri`, and the path inside it (no scheme; absolute when local).

    Opens no connection. Raises UserError for an empty path or a scheme other than file, s3 and gs.
    """
    text = absolute(uri)
    if not is_remote(text):
        return _local(), text
    scheme, _, path = text.partition("://")
    bucket = path.partition("/")[0]
    if not bucket:
        raise UserError(f"{redacted(text)}: the URI names no bucket ({scheme}://BUCKET/PATH)")
    if scheme.lower() not in ("s3", "gs"):
        raise UserError(f"{redacted(text)}: paths are local, s3:// or gs://, not {scheme}://")
    if "?" in path or not re.fullmatch(_BUCKET, bucket):
        raise UserError(f"{redacted(text)}: keys, region and endpoint belong in the environment")
    environment = tuple((name, os.environ.get(name, "")) for name in _S3_VARIABLES)
    return (_s3(environment) if scheme.lower() == "s3" else _gcs()), path


def join(uri: str, *names: str) -> str:
    """`uri` with path components appended."""
    return "/".join([uri.rstrip("/"), *names])


def read_file(uri: str, limit: int | None = None) -> bytes:
    """A whole file. Raises UserError where there is none, storage refuses, or it has more than `limit` bytes."""
    with reported(uri):
        filesystem, path = resolve(uri)
        with filesystem.open_input_stream(path) as stream:
            content = stream.read(None if limit is None else limit + 1)
    if limit is not None and len(content) > limit:
        raise UserError(f"{redacted(uri)} has more than {limit:,} bytes: too large a file of its kind")
    return content


@contextmanager
def opened(uri: str) -> Iterator[IO[bytes]]:
    """A stream of the file at `uri`, as it is. Raises UserError where there is none, or storage refuses."""
    with reported(uri):
        filesystem, path = resolve(uri)
        with filesystem.open_input_stream(path, compression=None) as stream:
            yield stream


def write_file(uri: str, content: bytes) -> None:
    """Write a whole file: readers see the old one or the new. Raises UserError where storage refuses."""
    with reported(uri, "write"):
        filesystem, path = resolve(uri)
        if is_remote(uri):  # An object appears when its stream is closed.
            with filesystem.open_output_stream(path) as stream:
                stream.write(content)
            return
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f"{UNFINISHED}{uuid.uuid4().hex}-{target.name}")
        try:
            with open(temporary, "xb") as file:  # It must be new: a link there would be followed.
                file.write(content)
            temporary.rename(target)
        finally:
            temporary.unlink(missing_ok=True)


def exists(uri: str) -> bool:
    """Whether there is a file or folder at `uri`. Raises UserError where storage refuses."""
    with reported(uri):
        filesystem, path = resolve(uri)
        return filesystem.get_file_info(path).type != fs.FileType.NotFound


def is_vacant(uri: str) -> bool:
    """Whether there is nothing at `uri`, or only a folder of unfinished files, whose writer has died.

    Raises UserError where storage refuses.
    """
    with reported(uri):
        filesystem, path = resolve(uri)
        if filesystem.get_file_info(path).type == fs.FileType.File:
            return False
        entries = filesystem.get_file_info(fs.FileSelector(path, allow_not_found=True))
        return all(entry.base_name.startswith(UNFINISHED) for entry in entries)


def delete_folder(uri: str) -> None:
    """Remove the folder at `uri` and its content, if there is one. Raises UserError where storage refuses."""
    if exists(uri):
        with reported(uri, "remove"):
            filesystem, path = resolve(uri)
            filesystem.delete_dir(path)


@contextmanager
def reported(uri: str, doing: str = "read") -> Iterator[None]:
    """Turns a file system's failure inside the block into one UserError that names `uri`, or StorageError."""
    try:
        yield
    except FileNotFoundError as error:
        if doing != "read":
            raise StorageError(f"cannot {doing} {redacted(uri)}: no folder can be made there") from error
        raise UserError(f"{redacted(uri)} does not exist: check the path") from error
    except UnicodeError as error:
        raise UserError(f"{redacted(uri)} holds a file name that is not UTF-8: rename it") from error
    except (OSError, ArrowException) as error:
        why = _why(error)
        if is_remote(uri) and "@" in uri:  # A store quotes the key, which may be half of a password.
            why = re.sub("'.*'", "'…'", why)
        raise StorageError(f"cannot {doing} {redacted(uri)}: {why}") from error


def _why(error: Exception) -> str:
    """What the system says, without its number and the path."""
    return error.strerror if isinstance(error, OSError) and error.strerror else one_line(error)


_S3_VARIABLES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION")


@lru_cache(maxsize=1)
def _local() -> fs.FileSystem:
    return fs.LocalFileSystem()


@lru_cache(maxsize=4)
def _s3(environment: tuple[tuple[str, str], ...]) -> fs.FileSystem:
    settings = dict(environment)
    endpoint = settings["AWS_ENDPOINT_URL_S3"] or settings["AWS_ENDPOINT_URL"]
    region = settings["AWS_REGION"] or settings["AWS_DEFAULT_REGION"]
    options: dict[str, object] = {}
    if endpoint:
        scheme, _, host = endpoint.rpartition("://")
        options |= {"endpoint_override": host.rstrip("/"), "scheme": scheme or "https"}
    if region or endpoint:
        options["region"] = region or "us-east-1"
    # The SDK's own timeouts are minutes; a wrong endpoint should be reported while someone is watching. A server that
    # has accepted a request may take longer to answer.
    retry = fs.AwsStandardS3RetryStrategy(max_attempts=4)
    return fs.S3FileSystem(connect_timeout=10, request_timeout=60, retry_strategy=retry, **options)


@lru_cache(maxsize=1)
def _gcs() -> fs.FileSystem:
    return fs.GcsFileSystem(retry_time_limit=timedelta(seconds=60))
