"""What is read back of the teachers' answers, and when they are asked again."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from jobs.training.answers import Answers
from jobs.training.collectives import Collectives
from jobs.training.config import TrainConfig
from jobs.training.option_groups import DistillationConfig
from jobs.training.run_folder import RunFolder

CONFIG = TrainConfig(batch_size=6, distillation=DistillationConfig(("teacher",), views=2))
ANSWERS = np.random.default_rng(0).random((3, 6, 7), np.float32)


@pytest.fixture
def answers(tmp_path):
    """Builds what a rank knows when it starts, after so many epochs."""

    def build(done: int = 5, config: TrainConfig = CONFIG, rows: slice = slice(0, 6)) -> Answers:
        folder, alone = RunFolder(str(tmp_path / "run")), Collectives(0, 1)
        return Answers(config, folder, alone, rows=rows, steps=3, data_fingerprint="data", epochs_done=done)

    return build


def test_a_view_is_asked_for_once_and_its_answers_go_to_the_rows_of_any_rank(answers):
    first = answers(0)
    assert [first.wanted(epoch) for epoch in (1, 2, 3)] == [True, True, True]
    first.keep(1, ANSWERS)
    first.write(1, ANSWERS)
    assert [first.known(epoch) for epoch in (1, 2, 3, 4)] == [True, False, True, False]
    call = SimpleNamespace(epoch=3, first=1, steps=2)
    np.testing.assert_array_equal(first.of(call), ANSWERS[1:3])
    np.testing.assert_array_equal(answers(rows=slice(2, 4)).of(call), ANSWERS[1:3, 2:4])
    assert answers().of(SimpleNamespace(epoch=2, first=1, steps=2)) is None
    assert not answers(0).known(1)  # No epoch is done.


def test_without_views_nothing_is_kept(answers):
    never = answers(config=replace(CONFIG, distillation=DistillationConfig(("teacher",))))
    assert not never.wanted(1)
    assert not never.known(1)


@pytest.mark.parametrize("damage", ["bit", "short", "long"])
def test_a_damaged_file_is_asked_for_again(damage, answers, tmp_path):
    answers().write(2, ANSWERS)
    assert answers().known(2)
    path = Path(RunFolder(str(tmp_path / "run")).answers(2))
    content = bytearray(path.read_bytes())
    content[-1] ^= damage == "bit"
    path.write_bytes(content[: -1 if damage == "short" else None] + b"x" * (damage == "long"))
    assert not answers().known(2)


def test_answers_about_other_images_do_not_count(answers):
    answers().write(1, ANSWERS)
    louder = replace(CONFIG, augmentation=replace(CONFIG.augmentation, noise=0.2))
    assert answers(config=louder).known(1)  # The teachers do not see the noise.
    turned = replace(CONFIG, augmentation=replace(CONFIG.augmentation, rotation=9))
    others = replace(CONFIG, distillation=replace(CONFIG.distillation, teacher=("another",)))
    for config in (turned, others, replace(CONFIG, seed=1), replace(CONFIG, batch_size=5)):
        assert not answers(config=config).known(1)
