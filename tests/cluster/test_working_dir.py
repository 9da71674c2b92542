"""What `ray job submit --working-dir .` uploads."""

import shutil
import zipfile
from pathlib import Path

import pytest
from ray._private.ray_constants import get_runtime_env_default_excludes
from ray._private.runtime_env.packaging import create_package

from tests.cluster.cluster_files import ROOT

CODE = ("cluster", "fer_data", "fer_models", "jobs")


def packed(folder: Path, where: Path) -> tuple[int, set[str]]:
    """Size in bytes and names of what Ray makes of `folder`."""
    package = where / "package.zip"
    create_package(str(folder), package, include_gitignore=True, excludes=get_runtime_env_default_excludes())
    with zipfile.ZipFile(package) as archive:
        return package.stat().st_size, set(archive.namelist())


@pytest.fixture(scope="module")
def littered(tmp_path_factory) -> Path:
    """The code as it is, among what else lies in a folder where somebody works."""
    folder = tmp_path_factory.mktemp("littered") / "work"
    for name in (*CODE, "live", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in (".rayignore", ".gitignore", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    for name in (
        *("fer2013.zip", "data/part-0.parquet", "runs/a/model.keras", "fer_data/fer2013.csv", "jobs/images.tar.gz"),
        *(".env", ".venv/bin/python", "environment/lib/x.so", "jobs/__pycache__/x.pyc", ".git/objects/aa/bb"),
        *("my_space.toml", "config.json"),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(bytes(100_000))
    return folder


def test_the_repository_is_a_small_package(tmp_path):
    size, names = packed(ROOT, tmp_path)
    assert size < 2_000_000
    assert {"jobs/train_resnet.py", "fer_data/drawn_faces.py", "jobs/evaluation/report/report.html.j2"} <= names


def test_all_the_code_that_jobs_run_goes_along(littered, tmp_path):
    _, names = packed(littered, tmp_path)
    code = {
        str(path.relative_to(ROOT)) for part in CODE for end in ("*.py", "*.j2") for path in (ROOT / part).rglob(end)
    }
    assert code <= names


def test_data_environments_tests_and_secrets_stay(littered, tmp_path):
    _, names = packed(littered, tmp_path)
    others = {name for name in names if Path(name).suffix not in (".py", ".j2", ".yaml", ".md")}
    assert others == {
        "cluster/Dockerfile",
        "cluster/grafana_dashboard.json",
        # The detector: uploaded code takes precedence over the image's.
        *(f"fer_data/faces/face_detection_back.{suffix}" for suffix in ("LICENSE.txt", "tflite")),
        *(f"fer_models/released/{name}.toml" for name in ("recipe", "resnet50")),
        "pyproject.toml",
        "my_space.toml",
        "config.json",
    }
    assert {name.split("/")[0] for name in names if "/" in name} == set(CODE)
