"""Text that leaves the program: on one line, as text, and without secrets.

Every message, table and page gets what users, files and servers say through these functions. They need Python alone.
"""

import re
from typing import Any

_LOCAL = ("file", "sqlite")
_STORES = ("s3", "gs")
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+")
_BARE = re.compile(r"(?<![^\s'\"(=,/])[^\s/@:'\"(=,]+:(?!//)\S+@(?=[\w.\[-])")
"""USER:PASSWORD@HOST without a scheme before it."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def plain(text: str) -> str:
    """A message that holds text of others: printable, and without the user name, password and query of any URL in it.

    Queries of URLs of this machine stay: `--web` prints one.
    """
    return printable(_BARE.sub("…@", _without_users(text)))


def redacted(uri: str) -> str:
    """`without_secrets(uri)` on one line: fit for messages, manifests and logs."""
    return printable(_BARE.sub("…@", without_secrets(uri)))


def without_secrets(uri: str) -> str:
    """A URL without user name, password, query and fragment; a path as it is.

    What comes before the last `@` is taken for a user name and password, whatever characters it has. Where that may be
    wrong, `…` stands in its place.
    """
    match = _URL.match(uri)
    if match is None or match[1].lower() in _LOCAL:
        return uri
    rest = _without_user(uri[match.end() :])
    return match[0] + re.split(r"\?" if match[1].lower() in _STORES else r"[?#]", rest, maxsplit=1)[0]


def printable(text: str) -> str:
    """`text` with control characters and the like escaped, so that a file name cannot break a message."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def one_line(error: BaseException, limit: int = 300) -> str:
    """What `error` says, on one line of at most `limit` characters."""
    # Secrets go first: of half a URL, nobody knows what is one.
    text = plain(" ".join(str(error).split())) or type(error).__name__
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def for_spreadsheet(value: Any) -> Any:
    """A value of a CSV table: text that a spreadsheet would take for a formula begins with an apostrophe."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _without_users(text: str) -> str:
    """`text`, the URLs in which have neither user names nor queries."""
    done, at = "", 0
    while match := _URL.search(text, at):
        end = _end(text, match.end())
        url = text[match.end() : end]
        if match[1].lower() not in _LOCAL:
            url = _without_user(url)
            if not url.startswith("127.0.0.1"):
                url = re.sub(r"\?.*", "?…", url)
        done, at = done + text[at : match.end()] + url, end
    return done + text[at:]


def _end(text: str, start: int) -> int:
    """Where the URL ends whose authority begins at `start`: at a space, unless a password has it."""
    end = next((at for at in range(start, len(text)) if text[at].isspace()), len(text))
    _, colon, port = text[start:end].partition(":")
    if colon and "@" not in port and "/" not in port and not port.rstrip(":,;.").isdigit():
        last = text.rfind("@")
        if last > end:
            return next((at for at in range(last, len(text)) if text[at].isspace()), len(text))
    return end


def _without_user(rest: str) -> str:
    """What follows the scheme of a URL, without user name and password."""
    user, at, host = rest.rpartition("@")
    return rest if not at else host if re.fullmatch(r"[^/?#@]*", user) else f"…@{host}"
