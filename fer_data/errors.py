"""The exception for a user's mistake. Everything else is a bug and keeps its traceback."""

from fer_data.text import plain


class UserError(Exception):
    """What was wrong, where, and the mend, in one line. Jobs print it to stderr and exit with code 2.

    The message may quote what users and files say: it goes through `text.plain`.
    """

    def __init__(self, message: object) -> None:
        super().__init__(plain(str(message)))


class StorageError(UserError):
    """Storage refuses: its disk is full, a permission is missing, its server does not answer."""
