"""The documents of the project, and what is in them."""

import re
from pathlib import Path

from tests.conftest import REPOSITORY
from tests.test_layering import PACKAGES

DOCUMENTS = sorted(
    [*REPOSITORY.glob("*.md"), *(file for name in (*PACKAGES, "tests") for file in (REPOSITORY / name).rglob("*.md"))]
)


def blocks(document: Path, language: str) -> list[str]:
    """The contents of the fenced blocks in `language`; the empty string stands for blocks without one."""
    return re.findall(rf"^```{language}\n(.*?)^```$", document.read_text(), re.MULTILINE | re.DOTALL)


def prose(document: Path) -> str:
    """The document without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)


def name(document: Path) -> str:
    """Its path in the repository, for pytest."""
    return str(document.relative_to(REPOSITORY))
