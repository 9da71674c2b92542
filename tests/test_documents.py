"""Links between documents resolve, the map in CONTRIBUTING.md is complete, and versions and figures are right."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from fer_models.checkpoint_files import read_card
from live.checkpoint import RELEASED
from tests.conftest import REPOSITORY
from tests.documents import DOCUMENTS, blocks, name, prose
from tests.test_layering import modules


def anchors(document: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a document."""
    titles = re.findall(r"^#+ (.+)$", prose(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def mapped() -> Iterator[str]:
    """The paths in the map of CONTRIBUTING.md."""
    (tree,) = blocks(REPOSITORY / "CONTRIBUTING.md", "")
    folders: list[str] = []
    for line in tree.splitlines():
        indent, entry, phrase = re.fullmatch(r"( *)(\S+) +(\S.*)", line).groups()
        assert phrase
        del folders[len(indent) // 2 :]
        yield "/".join([*folders, entry.rstrip("/")])
        if entry.endswith("/"):
            folders.append(entry.rstrip("/"))


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_every_link_resolves(document):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(document)):
        if re.match(r"https?://", target):
            continue
        path, _, anchor = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_every_document_is_short_and_reached_from_the_first(document):
    assert len(prose(document).splitlines()) <= 300
    assert document.name == "README.md" or f"]({document.name})" in (REPOSITORY / "README.md").read_text()


def test_every_file_in_the_map_exists_and_is_there_once():
    paths = list(mapped())
    assert [path for path in paths if not (REPOSITORY / path).exists()] == []
    assert len(paths) == len(set(paths))


def test_every_module_of_the_program_is_in_the_map():
    files = {str(file.relative_to(REPOSITORY)) for file in modules().values() if file.name != "__init__.py"}
    assert files - set(mapped()) == set()


def test_every_file_that_contributing_names_exists():
    """Files are named by their path, or by their name alone after a path in the same folder."""
    text = prose(REPOSITORY / "CONTRIBUTING.md")
    known = {file.name for file in modules().values()} | {file.name for file in (REPOSITORY / "tests").rglob("*.py")}
    for path in re.findall(r"`([\w/.]+\.(?:py|toml|txt|yaml|md))`", text):
        exists = (REPOSITORY / path).exists() or ("/" not in path and (path in known or path == "aws.yaml"))
        assert exists or path == "cluster/NAME.yaml", path


def test_the_changelog_has_the_versions_of_the_code():
    rows = re.findall(r"^\| `(\w+_VERSION)` in `(\S+)` \| (\d+) \|", prose(REPOSITORY / "CHANGELOG.md"), re.MULTILINE)
    assert len(rows) == 5
    for constant, file, number in rows:
        assert f"\n{constant} = {number}\n" in (REPOSITORY / file).read_text(), file


def test_the_figures_of_the_released_checkpoint_are_those_of_its_card():
    card = read_card(str(RELEASED))
    last = card.metrics[-1]
    every, unseen = (f"{100 * last[f'validation_accuracy{of}']:.1f} %" for of in ("", "_unseen"))
    f1, f1_unseen = (f"{last[f'validation_macro_f1{of}']:.3f}" for of in ("", "_unseen"))
    int8 = f"{100 * card.exports['model.int8.tflite']['accuracy']:.1f} %"
    said = {
        REPOSITORY / "README.md": (
            f"| {card.parameters:,} | **{unseen}** | {every} |",
            f"Its macro-F1 is {f1_unseen} on unseen photographs and {f1} on all images.",
            f"In 8 bits its accuracy is {int8}",
        ),
        RELEASED / "README.md": (
            f"network of {card.parameters:,} parameters",
            f"an accuracy of **{unseen}**",
            f"| all | 3,589 | {every} |",
            f"| unseen photographs | 2,491 | **{unseen}** |",
            f"its macro-F1 is {f1_unseen}.",
            f"Macro-F1 {f1} (",
            f"(`model.int8.tflite`): {int8},",
        ),
    }
    for document, sentences in said.items():
        text = " ".join(document.read_text().split())
        assert [sentence for sentence in sentences if sentence not in text] == []
