"""The commands of the documents run on small data, and answer nobody, or at least parse; the Python code runs."""

import importlib
import os
import re
import shlex
import subprocess
import sys
import tomllib
import zipfile
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import cv2
import pytest

from fer_data.commands import exit_with_code
from jobs.training.defaults import DEFAULTS
from tests.conftest import REPOSITORY
from tests.documents import DOCUMENTS, blocks, prose
from tests.fer_data.raw_forms import tree
from tests.fer_models.test_foreign import small
from tests.live.scenes import photograph, walk, write_video
from tests.network import watched
from tests.processes import address_on_the_network
from tests.test_layering import PACKAGES

COMMANDS = [
    line.strip()
    for document in DOCUMENTS
    for block in blocks(document, "sh")
    for line in block.replace("\\\n", " ").splitlines()
    if line.strip()
]
INLINE = [
    " ".join(code.split())
    for document in DOCUMENTS
    for code in re.findall(r"`(python (?:jobs/\w+\.py|-m [\w.]+)[^`…]*)`", prose(document))
]
OURS = re.compile(r"(?:^|[\s(])python (?:jobs/(\w+)\.py|-m ([\w.]+))(.*)$")
OTHERS = {"make", "pip", "ray", "docker", "kubectl", "sed", "export", "."}
"""Programs that need a network or a cluster, or set up the shell."""

RUN = {
    "python jobs/prepare_data.py fer2013.zip": "",
    "python jobs/prepare_data.py pictures": "",
    "python -m live --source clip.mp4": "",
    "python -m cluster.sizing": "",
}
"""Commands that run, by how they begin, and the options that make each small."""
RUN_SLOWLY = {
    "python jobs/train_cnn.py --model compact --data data/fer2013": "--epochs 1 --workers 2",
    "python jobs/train_cnn.py --model compact --weights fer_models/released --data data/mine --epochs 10 --batch": (
        "--epochs 1 --workers 1"
    ),
    "python jobs/evaluate.py --checkpoint": "",
    "python jobs/evaluate.py --compare": "",
    "python jobs/export.py ~/fer_runs/mine/best --formats": "--formats litert litert_int8 onnx",
    "python jobs/sweep.py --model compact": "--epochs 1 --trials 1",
    "python jobs/train_cnn.py --config ~/fer_runs/search": "--epochs 1",
}
"""The same, of commands that take minutes. They run in this order, since each needs the results of those before it."""


@pytest.fixture(scope="module")
def desk(tmp_path_factory) -> Path:
    """A folder with the code, a small data set, pictures, a video and a photograph; it is the home folder too."""
    folder = tmp_path_factory.mktemp("desk")
    for package in PACKAGES:
        (folder / package).symlink_to(REPOSITORY / package)
    with zipfile.ZipFile(folder / "fer2013.zip", "w") as archive:
        for path, content in tree(140).items():
            archive.writestr(path, content)
    for i, (path, content) in enumerate(tree(140).items()):
        picture = folder / "pictures" / path.split("/")[1] / f"S{i // 7:03d}_{i % 7}.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.write_bytes(content)
    write_video(folder / "clip.mp4", walk(10))
    cv2.imwrite(str(folder / "photo.jpg"), photograph())
    return folder


def shorter(command: str, options: str) -> str:
    """`command` without its comment, and with the values that `options` give in place of its own."""
    command = re.sub(r"\s#.*", "", command)
    for option, value in re.findall(r"(--[\w-]+) ((?:(?!--)\S+ ?)+)", options):
        command = re.sub(rf" {option} (?:(?!--)\S+ ?)+", " ", command + " ") + f" {option} {value}"
    return command


def run(command: list[str] | str, desk: Path) -> str:
    """What the command prints."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = os.environ | {"HOME": str(desk), "PATH": path, "PYTHONPATH": str(REPOSITORY)}
    environment.pop("XDG_CACHE_HOME", None)
    done = subprocess.run(
        ["bash", "-c", command] if isinstance(command, str) else command,
        cwd=desk,
        env=environment,
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def commands_of(beginnings: dict[str, str]) -> list[tuple[str, str]]:
    """The commands that begin so, each once, with the options that make it small."""
    found = {" ".join(command.split()): None for command in COMMANDS}
    return [(c, options) for start, options in beginnings.items() for c in found if c.startswith(start)]


@pytest.mark.parametrize(("command", "options"), commands_of(RUN))
def test_a_quick_command_runs_as_printed(command, options, desk):
    run(shorter(command, options), desk)


@pytest.mark.slow
@pytest.mark.cluster
def test_the_jobs_run_one_after_another_as_printed(desk):
    # Stand-ins for the two networks of the model card that do not ship.
    small().save(desk / "CNNMODELfinal.keras")
    (desk / "LARGE").symlink_to("fer_models/released")
    run("test -d data/fer2013 || python jobs/prepare_data.py fer2013.zip --out data/fer2013", desk)
    pictures = "python jobs/prepare_data.py pictures --out data/mine --resize --split-shares 0.8 0.1 0.1"
    run(f"test -d data/mine || {pictures}", desk)
    address = address_on_the_network()
    for command, options in commands_of(RUN_SLOWLY):
        with watched(address) if address else nullcontext([]) as found:
            printed = run(shorter(command, options), desk)
        assert not found, f"{command} answered on the network"
        assert "core_worker" not in printed, "what Ray says to itself"


@pytest.mark.parametrize("beginning", [*RUN, *RUN_SLOWLY])
def test_every_command_that_is_to_run_is_in_a_document(beginning):
    assert commands_of({beginning: ""})


@pytest.mark.parametrize("number", range(sum(len(blocks(document, "python")) for document in DOCUMENTS)))
def test_the_python_code_runs(number, desk):
    code = [block for document in DOCUMENTS for block in blocks(document, "python")][number]
    run([sys.executable, "-c", code], desk)


@pytest.mark.parametrize("command", sorted({*COMMANDS, *INLINE}))
def test_every_command_parses(command, capsys, tmp_path):
    """It is given an option too many, and must refuse that one and nothing else."""
    found = OURS.search(command)
    if found is None:
        others(command)
        return
    job, module, arguments = found.groups()
    arguments = shlex.split(arguments.removesuffix(')"'), comments=True)
    if job == "x":  # It stands for any job.
        return
    if module and module.startswith("tests."):
        source = (REPOSITORY / f"{module.replace('.', '/')}.py").read_text()
        assert all(f'"{option}"' in source for option in arguments if option.startswith("--"))
        return
    # A configuration that an earlier command makes.
    config = tmp_path / "config.json"
    config.write_text(DEFAULTS["compact"].to_json())
    arguments = [re.sub(r"^~.*/config\.json$", str(config), one) for one in arguments]
    if module == "live":
        main = partial(importlib.import_module("live.options").parse, description="")
    else:
        main = importlib.import_module(module or f"jobs.{job}").main
    if module == "cluster.sizing" and not arguments:
        arguments = ["--model", "cnn", "--rate", "9"]
    with pytest.raises(SystemExit):
        exit_with_code(lambda: main([*arguments, "--no-such-option"]))
    assert capsys.readouterr().err == "error: unrecognized arguments: --no-such-option; --help lists the options\n"


def others(command: str) -> None:
    """What can be said of a command of other programs without running it."""
    program, *arguments = shlex.split(command, comments=True)
    assert program in OTHERS, f"{program} is not known here"
    if program == "make":
        assert f"\n{arguments[0]}:" in (REPOSITORY / "Makefile").read_text()
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    for extras in re.findall(r"\.\[([\w,]+)\]", command):
        assert set(extras.split(",")) <= project["optional-dependencies"].keys()
