"""Which package may import what, by reading the source: imports inside functions count too."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

PACKAGES = ("fer_data", "fer_models", "cluster", "jobs", "live")
OURS = {
    "fer_data": {"fer_data"},
    "fer_models": {"fer_data", "fer_models"},
    "cluster": {"fer_data", "cluster"},
    "jobs": {"fer_data", "fer_models", "cluster", "jobs"},
    "live": {"fer_data", "fer_models", "live"},
}
"""What each package may import of this project."""
COMMANDS = {"cluster.sizing"}
"""Commands that are in one package and also use a package above it. Nothing imports them."""
TENSORFLOW_IN_MODELS = "fer_models.export"


def modules() -> dict[str, Path]:
    """The files of the program by the names of their modules."""
    files = [file for package in PACKAGES for file in (REPOSITORY / package).rglob("*.py")]
    names = [".".join(file.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__") for file in files]
    return dict(zip(names, files, strict=True))


@cache
def imports(module: str) -> frozenset[str]:
    """The modules that `module` imports: those of this project in full, of libraries as they are written."""
    ours = modules()
    found = set()
    for node in ast.walk(ast.parse(ours[module].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (inner & ours.keys()) or {str(node.module)}
    return frozenset(found)


def reached(module: str) -> Iterator[str]:
    """Every module that an import of `module` may load, `module` itself included."""
    seen, frontier = set(), {module}
    while frontier:
        yield from frontier
        seen |= frontier
        frontier = {name for one in frontier & modules().keys() for name in imports(one)} - seen


def importers(packages: tuple[str, ...], library: str) -> set[str]:
    """The modules of `packages` that import `library`."""
    return {
        module
        for module in modules()
        if module.split(".")[0] in packages and library in {name.split(".")[0] for name in imports(module)}
    }


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_run_one_way(package):
    for module in modules().keys() - COMMANDS:
        if module.split(".")[0] == package:
            used = {name.split(".")[0] for name in imports(module)} & set(PACKAGES)
            assert used <= OURS[package], module


def test_nothing_imports_the_commands_that_look_upward():
    assert not COMMANDS & {name for module in modules() for name in imports(module)}


def test_no_modules_import_one_another_in_a_circle():
    TopologicalSorter({module: imports(module) & modules().keys() for module in modules()}).prepare()


def test_data_models_and_live_know_nothing_of_ray():
    assert not importers(("fer_data", "fer_models", "live"), "ray")


def test_tensorflow_is_imported_by_one_module_below_the_jobs():
    assert importers(("fer_data", "fer_models", "live"), "tensorflow") == {TENSORFLOW_IN_MODELS}


def test_live_loads_neither_ray_nor_tensorflow_nor_keras_through_another_package():
    for module in modules():
        if module.split(".")[0] == "live":
            assert not {name.split(".")[0] for name in reached(module)} & {"ray", "tensorflow", "keras"}, module


def test_private_names_of_ray_are_used_in_one_file():
    private = {
        module for module in modules() for name in imports(module) if name.startswith("ray.") and "._" in name
    } | {module for module in modules() if any(name.startswith("ray.train.v2") for name in imports(module))}
    assert private == {"cluster.ray_internals"}


@pytest.mark.parametrize("name", ["_keras_history", "_flatten_layers", "compat.v1", "_node_ip_address"])
def test_private_names_of_libraries_stay_out_of_the_rest(name):
    use = re.compile(rf"(?<!\w){re.escape(name)}")
    found = {module for module, file in modules().items() if use.search(file.read_text())}
    assert found <= {"cluster.ray_internals"}
