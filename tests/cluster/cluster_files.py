"""The files that say where jobs run, read."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
LAUNCHER = sorted(CLUSTER.glob("*.yaml"))
KUBERAY = sorted((CLUSTER / "kuberay").glob("*.yaml"))
# Everything that people copy, change and apply.
FILES = [
    *LAUNCHER,
    *KUBERAY,
    CLUSTER / "Dockerfile",
    CLUSTER / "README.md",
    ROOT / ".dockerignore",
    ROOT / ".rayignore",
]


def name(path: Path) -> str:
    """A file's name for pytest."""
    return path.name


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text()))


def resources() -> Iterator[tuple[Path, dict[str, Any]]]:
    """Every Kubernetes resource, with the file that it is in."""
    for path in KUBERAY:
        for document in documents(path):
            yield path, document


def ray_clusters() -> dict[str, dict[str, Any]]:
    """The specification of every Ray cluster at Kubernetes, by its file."""
    return {
        path.stem: document["spec"].get("rayClusterSpec", document["spec"])
        for path, document in resources()
        if document["kind"] in ("RayCluster", "RayJob")
    }


def ray_jobs() -> dict[str, dict[str, Any]]:
    """The specification of every RayJob, by its file."""
    return {path.stem: document["spec"] for path, document in resources() if document["kind"] == "RayJob"}


def pods() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every pod template's specification, with where it is."""
    for path, document in resources():
        yield from _pods(document, path.stem)


def _pods(node: Any, where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(node, dict):
        if "containers" in node:
            yield where, node
        for key, value in node.items():
            yield from _pods(value, f"{where}.{key}")
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from _pods(value, f"{where}[{number}]")


def keys(node: Any) -> Iterator[str]:
    """Every key in what YAML gave."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield key
            yield from keys(value)
    elif isinstance(node, list):
        for value in node:
            yield from keys(value)


def pins() -> dict[str, str]:
    """The version of every package in constraints.txt, by its name in lower case with dashes."""
    lines = (ROOT / "constraints.txt").read_text().split()
    return {re.sub(r"[-_.]+", "-", package).lower(): version for package, version in (x.split("==") for x in lines)}
