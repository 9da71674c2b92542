"""The exception for a user's mistake. Everything else is a bug and keeps its traceback."""


class UserError(Exception):
    """What was wrong, where, and the mend, in one line. Jobs print it to stderr and exit with code 2."""


class StorageError(UserError):
    """Storage refuses: its disk is full, a permission is missing, its server does not answer."""
