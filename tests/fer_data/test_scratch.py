import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fer_data.scratch import scratch_folder
from tests.conftest import REPOSITORY

KILLED = """
import os, sys
from fer_data.scratch import scratch_folder

with scratch_folder(sys.argv[1]):
    os.kill(os.getpid(), 9)
"""


def kill_a_program_in(folder: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(folder)], cwd=REPOSITORY, check=False)


def test_a_folder_ends_with_its_block_and_those_of_killed_programs_with_the_next(tmp_path):
    kill_a_program_in(tmp_path)
    (left,) = tmp_path.iterdir()
    Path(left, "inside").write_text("x")
    with scratch_folder(str(tmp_path)) as first:
        assert not left.exists()
        with scratch_folder(str(tmp_path)) as second:  # The first is in use.
            assert sorted(tmp_path.iterdir()) == sorted([Path(first), Path(second)])
    assert not any(tmp_path.iterdir())


def test_what_is_not_such_a_folder_is_left_alone(tmp_path):
    others = [tmp_path / "fer-tmp-mine", tmp_path / "fer-tmp-abcdefgh.owner", tmp_path / "target"]
    for each in others:
        each.mkdir()
    link, file = tmp_path / "fer-tmp-linklink.own", tmp_path / "fer-tmp-filefile.own"
    link.symlink_to(others[2])
    file.write_text("x")
    with scratch_folder(str(tmp_path)):
        pass
    assert sorted(tmp_path.iterdir()) == sorted([*others, link, file])


def test_many_at_once_keep_their_own(tmp_path):
    def use(number: int) -> bool:
        with scratch_folder(str(tmp_path)) as folder:
            Path(folder, "mine").write_text(str(number))
            kept = Path(folder, "mine").read_text() == str(number)
        return kept and not os.path.exists(folder)

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(use, range(500)))


def test_a_folder_that_cannot_be_made_is_an_error_of_the_system():
    with pytest.raises(OSError, match="No such file"), scratch_folder("/nowhere"):
        pass
