"""A version is said in one place, or in several that cannot disagree."""

import re
import tomllib

import pytest

from tests.cluster.cluster_files import CLUSTER, FILES, KUBERAY, LAUNCHER, ROOT, name, pins, pods, ray_clusters

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
IMAGES = {f"fer-jobs:{PROJECT['version']}", f"fer-jobs:{PROJECT['version']}-gpu"}


@pytest.mark.parametrize("path", FILES, ids=name)
def test_images_carry_the_projects_version(path):
    assert set(re.findall(r"\bfer-jobs:[\w.-]*\w", path.read_text())) <= IMAGES


def test_every_cluster_runs_the_projects_images():
    images = {
        image
        for path in [*LAUNCHER, *KUBERAY]
        for image in re.findall(r"^[^#\n]*\b(?:worker_)?image: (\S+)$", path.read_text(), re.MULTILINE)
    }
    assert {image for image in images if not image.startswith("redis:")} == IMAGES


@pytest.mark.parametrize(("file", "spec"), ray_clusters().items())
def test_the_operator_is_told_the_ray_that_is_pinned(file, spec):
    assert spec["rayVersion"] == pins()["ray"]


def test_the_images_python_is_one_that_the_project_takes():
    text = (CLUSTER / "Dockerfile").read_text()
    (version,) = set(re.findall(r"^FROM python:(3\.\d+)\.\d+-slim-\w+@", text, re.MULTILINE))
    low, high = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", PROJECT["requires-python"]).groups()
    assert int(low) <= int(version.split(".")[1]) < int(high)


def test_both_stages_of_the_image_have_the_same_base():
    bases = re.findall(r"^FROM (\S+)", (CLUSTER / "Dockerfile").read_text(), re.MULTILINE)
    assert len(bases) == 2
    assert len(set(bases)) == 1, "the environment is copied from one stage to the other, and links to its Python"


def test_images_of_others_are_named_by_their_digest():
    images = re.findall(r"^FROM (\S+)", (CLUSTER / "Dockerfile").read_text(), re.MULTILINE)
    images += [container["image"] for _, pod in pods() for container in pod["containers"]]
    theirs = [image for image in images if not image.startswith("fer-jobs:")]
    assert len(theirs) == 3
    assert all(re.fullmatch(r"\w+:[\w.-]+@sha256:[0-9a-f]{64}", image) for image in theirs)


def test_every_package_that_an_extra_names_is_pinned():
    named = {
        re.match(r"[\w.-]+", requirement).group().lower()
        for requirements in [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
        for requirement in requirements
    }
    assert named - {"fer-jobs"} <= {package.replace("_", "-") for package in pins()}


def test_what_tensorflow_needs_for_gpus_is_pinned():
    from importlib.metadata import requires

    wanted = {
        re.match(r"[\w.-]+", requirement).group().lower()
        for requirement in requires("tensorflow")
        if "and-cuda" in requirement
    }
    assert wanted
    assert wanted <= pins().keys()
