"""The container image's recipe: what it may see, what it installs, and who runs in it."""

import re
import tomllib

import pathspec

from tests.cluster.cluster_files import CLUSTER, ROOT, ray_clusters

RECIPE = (CLUSTER / "Dockerfile").read_text()
BUILD, RUN = re.split(r"^FROM .*$", RECIPE, flags=re.MULTILINE)[1:]


def seen(path: str) -> bool:
    """Whether `docker build` may copy the file. Docker reads its ignore file as git does, but for what is used here."""
    ignored = pathspec.PathSpec.from_lines("gitignore", (ROOT / ".dockerignore").read_text().splitlines())
    return not ignored.match_file(path)


def test_the_build_sees_the_packages_and_nothing_else():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    for package in project["tool"]["setuptools"]["packages"]:
        assert seen(f"{package.replace('.', '/')}/__init__.py"), package
    assert seen("constraints.txt")
    assert seen("pyproject.toml")
    assert seen("jobs/evaluation/report/report.html.j2")
    assert seen("fer_models/released/model.keras")
    for path in (
        ".env",
        ".git/config",
        ".venv/bin/python",
        "fer2013.zip",
        "data/x",
        "tests/conftest.py",
        "cluster/x.yaml",
        "live/screen.png",
    ):
        assert not seen(path), path


def test_everything_is_installed_at_the_pinned_versions_without_leftovers():
    assert "--constraint constraints.txt" in BUILD
    assert "--no-cache-dir" in BUILD
    assert "ARG EXTRA=jobs\n" in BUILD
    assert not re.search(r"\bpip\b", RUN)
    assert "COPY --from=builder /opt/fer /opt/fer" in RUN


def test_nobody_in_the_container_is_root():
    assert re.findall(r"^USER (\S+)", RUN, re.MULTILINE) == ["1000:1000"]
    assert RUN.index("USER") > RUN.index("RUN ")
    for spec in ray_clusters().values():
        assert spec["headGroupSpec"]["template"]["spec"]["securityContext"]["runAsUser"] == 1000


def test_the_image_has_what_probes_and_the_launcher_run():
    (packages,) = re.findall(r"apt-get install --yes --no-install-recommends (.*) &&", RUN)
    assert set(packages.split()) == {"openssh-client", "rsync", "wget"}
    assert "HOME=/home/ray" in RUN, "`ray up` reads it from the image, and takes /root without it"
