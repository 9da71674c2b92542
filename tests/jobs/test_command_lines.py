"""Every command refuses the same mistake in the same line, and ends with the same exit codes."""

import importlib
import os
import re
import signal
import subprocess
import sys
import time
from itertools import pairwise

import pytest

from fer_data.commands import exit_with_code
from tests.conftest import REPOSITORY

NEEDED = {
    "jobs.train_cnn": (),
    "jobs.train_resnet": (),
    "jobs.sweep": (),
    "jobs.evaluate": ("--checkpoint", "a", "--out", "b"),
    "jobs.predict": ("input", "--checkpoint", "a", "--out", "b"),
    "jobs.prepare_data": ("raw", "--out", "b"),
    "jobs.export": ("checkpoint",),
    "cluster.sizing": ("--model", "cnn", "--rate", "9"),
    "cluster.rehearse": ("up",),
}
"""What each command needs to be given; `live` is not called but run, since it takes no arguments but the process's."""
TRAINING = ("jobs.train_cnn", "jobs.train_resnet", "jobs.sweep")
COUNTED_WORKERS = ("jobs.evaluate", "jobs.predict", "jobs.prepare_data")
SHARED = (*TRAINING, "jobs.evaluate", "jobs.predict")
HELPED = "; --help lists the options"


def refusal(command: str, arguments: tuple[str, ...], capsys) -> str:
    """What the command says on stderr, in one line, as it exits with code 2."""
    main = importlib.import_module(command).main
    with pytest.raises(SystemExit) as stop:
        exit_with_code(lambda: main([*NEEDED[command], *arguments]))
    said = capsys.readouterr()
    assert (stop.value.code, said.out) == (2, "")
    (line,) = said.err.splitlines()
    return line


@pytest.mark.parametrize(
    ("arguments", "line", "commands"),
    [
        (("--device", "tpu"), "argument --device: invalid choice: 'tpu' (choose from 'auto', 'cpu', 'gpu')", SHARED),
        (("--wait", "-1"), "--wait must be 0 or more (it is -1.0)", SHARED),
        (("--wait", "nan"), "--wait must be 0 or more (it is nan)", SHARED),
        (("--stall-timeout", "0"), "--stall-timeout must be above 0 (it is 0.0)", SHARED),
        (("--cpus-per-worker", "0"), "--cpus-per-worker must be 1 or more (it is 0)", SHARED),
        (("--max-failures", "-1"), "--max-failures must be 0 or more (it is -1)", TRAINING),
        (
            ("--name", "../x"),
            "--name may hold letters, digits, '.', '_' and '-', and begin with no '.' (it is '../x')",
            TRAINING,
        ),
        (
            ("--workers", "0"),
            "--workers must be 1 or more (it is 0)",
            ("jobs.evaluate", "jobs.predict", "jobs.prepare_data"),
        ),
        (("--no-such-option",), "unrecognized arguments: --no-such-option", tuple(NEEDED)),
    ],
)
def test_the_same_mistake_gets_the_same_line_from_every_command(arguments, line, commands, capsys):
    for command in commands:
        assert refusal(command, arguments, capsys) == f"error: {line}{HELPED}", command


def test_live_refuses_in_the_same_words():
    done = live("--no-such-option")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: unrecognized arguments: --no-such-option{HELPED}\n"
    assert live("--threads", "0").stderr == f"error: --threads must be 1 or more (it is 0){HELPED}\n"


def live(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "live", *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--learning-rat", "1"), "unrecognized arguments: --learning-rat 1 (did you mean --learning-rate?)"),
        (("--epochs", "x"), "argument --epochs: invalid literal for int() with base 10: 'x'"),
        (("--epochs",), "argument --epochs: expected one argument"),
        (("--config",), "argument --config: expected one argument"),
        (("--epochs", "0"), "--epochs must be 1 or more (it is 0)"),
        (
            ("--epoch", "2", "--learning-rat", "1", "--nothing-like-it"),
            "unrecognized arguments: --epoch (did you mean --epochs?), --learning-rat (did you mean --learning-rate?), "
            "--nothing-like-it",
        ),
        (("extra",), "unrecognized arguments: extra"),
    ],
)
def test_what_tyro_refuses_is_told_in_the_words_of_pythons_parser(arguments, line, capsys):
    """It fails where tyro's private `_errors`, which `jobs.command_line` reads, has moved."""
    assert refusal("jobs.train_cnn", arguments, capsys) == f"error: {line}{HELPED}"


def test_weights_that_were_never_trained_are_not_frozen(capsys):
    said = refusal("jobs.train_resnet", ("--freeze", "stem"), capsys)
    assert said.startswith("error: --freeze would keep random weights as they are: give --weights")


@pytest.mark.parametrize(
    "command", [*(job for job in SHARED if job != "jobs.predict"), "jobs.export", "jobs.train_recipe"]
)
def test_every_job_that_takes_raw_data_takes_images_of_any_size(command, capsys):
    with pytest.raises(SystemExit):
        importlib.import_module(command).main(["--help"])
    assert "--resize" in capsys.readouterr().out


def test_values_that_cannot_be_read_are_quoted(capsys):
    said = refusal("jobs.prepare_data", ("--split-shares", "a", "b"), capsys)
    assert said == f"error: argument --split-shares: invalid values: 'a', 'b'{HELPED}"


def test_weights_that_do_not_exist_are_told_with_what_may_be_given(capsys):
    said = refusal("jobs.train_resnet", ("--weights", "imagenett"), capsys)
    assert said.endswith("imagenett does not exist: give imagenet, a checkpoint's folder or a .h5 file")


def test_what_is_missing_is_named(capsys):
    with pytest.raises(SystemExit):
        exit_with_code(lambda: importlib.import_module("jobs.prepare_data").main(["raw"]))
    assert capsys.readouterr().err == f"error: the following arguments are required: --out{HELPED}\n"


@pytest.mark.parametrize("command", [name for name in NEEDED if name.startswith("jobs.")])
def test_help_keeps_the_examples_in_their_lines_and_names_no_type_that_is_none(command, capsys):
    module = importlib.import_module(command)
    with pytest.raises(SystemExit) as stop:
        exit_with_code(lambda: module.main(["--help"]))
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    examples = [line for line in module.__doc__.splitlines() if line.startswith("    ")]
    assert examples
    lines = [line.rstrip() for line in printed.splitlines()]
    assert all(line in lines for line in examples)
    assert "{None" not in printed
    # A line is broken where the next word does not fit, and nowhere else.
    texts = [re.fullmatch(r"( {9,})(\S.*?)( *)", line.replace("│", " ")) for line in printed.splitlines()]
    assert any(texts)
    for text, following in pairwise(texts):
        if text and following and text[1] == following[1] and not following[2].startswith("("):
            assert len(text[3]) <= len(following[2].split()[0]) + 1, text[2]


def test_none_may_still_be_given_for_an_option_that_has_no_value():
    from jobs.training.options import parse_train_options

    assert parse_train_options(["--dropout", "None", "--data", "x"], "train_cnn", None).train.dropout is None


@pytest.mark.parametrize(
    ("ending", "code", "said"), [(KeyboardInterrupt, 130, "interrupted\n"), (BrokenPipeError, 1, "")]
)
def test_ctrl_c_is_one_word_and_130_and_a_reader_that_has_gone_is_1(ending, code, said):
    program = f"from fer_data.commands import exit_with_code\ndef main(): raise {ending.__name__}\nexit_with_code(main)"
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (code, said)


@pytest.mark.parametrize(
    ("options", "home", "said"),
    [
        ((), "/proc/nothing", "cannot write the cache /proc/nothing/.cache/fer_data: "),
        (("--storage", "/proc/nothing"), "", "cannot write /proc/nothing/run/config.json: no folder can be made there"),
    ],
)
@pytest.mark.cluster
def test_a_place_that_refuses_is_named_in_one_line(options, home, said, tmp_path):
    cache = {"HOME": home, "XDG_CACHE_HOME": ""} if home else {"XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "jobs/train_cnn.py", "--name", "run", *options],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)} | cache,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"error: {said}")


def test_the_shared_module_imports_nothing_beyond_python():
    program = "import sys; before = set(sys.modules); import fer_data.commands; print(*(set(sys.modules) - before))"
    done = subprocess.run(
        [sys.executable, "-S", "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    roots = {name.partition(".")[0] for name in done.stdout.split()}
    assert roots - {"fer_data"} <= sys.stdlib_module_names


WAITING = """
import time
import ray
from cluster.connect import start_local
from fer_data.commands import exit_with_code

@ray.remote
def slow():
    time.sleep(600)

def main():
    start_local(num_cpus=1)
    task = slow.remote()
    print("waiting", flush=True)
    ray.get(task)

exit_with_code(main)
"""


@pytest.mark.cluster
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_the_exit_code_names_the_signal_that_arrives_while_ray_waits(number, code):
    job = subprocess.Popen(
        [sys.executable, "-c", WAITING],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert job.stdout is not None
    try:
        assert job.stdout.readline() == "waiting\n"
        time.sleep(1)
        os.killpg(job.pid, number)
        _, said = job.communicate(timeout=60)
    finally:
        job.kill()
    assert job.returncode == code, said
    # Ray may write a line of its own after it, when its node goes before its threads do.
    assert said.splitlines().count("interrupted") == 1
