"""The exception for a user's mistake. Everything else is a bug and keeps its traceback."""

import lzma
import struct
import zipfile
import zlib

from fer_data.text import plain


class UserError(Exception):
    """What was wrong, where, and the mend, in one line. Jobs print it to stderr and exit with code 2.

    The message may quote what users and files say: it goes through `text.plain`.
    """

    def __init__(self, message: object) -> None:
        super().__init__(plain(str(message)))


class StorageError(UserError):
    """Storage refuses: its disk is full, a permission is missing, its server does not answer."""


DAMAGED_ZIP = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    ValueError,
    OSError,
)
"""What zipfile raises when fed anything but a whole zip. Gzip raises no more."""
