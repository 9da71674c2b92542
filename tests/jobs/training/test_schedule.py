from dataclasses import replace

import pytest

from jobs.training.config import TrainConfig
from jobs.training.option_groups import ScheduleConfig
from jobs.training.schedule import best_row, learning_rate, plateau_reductions, why_finished


def history(*losses, metric="loss"):
    """Rows with these values on unseen images. Those on all images, on which nothing here may depend, stay the same."""
    return [
        {"epoch": i + 1, f"validation_{metric}": 0.5, f"validation_{metric}_unseen": value}
        for i, value in enumerate(losses)
    ]


def rates(schedule, *, epochs=10, reductions=0):
    at = [0.5, 1, 2, 5.5, 10]
    return [learning_rate(schedule, 0.1, epochs=epochs, progress=p, reductions=reductions) for p in at]


def test_a_constant_schedule_stays():
    assert rates(ScheduleConfig()) == [0.1] * 5


def test_warm_up_rises_in_a_line_and_cosine_falls_to_its_end():
    schedule = ScheduleConfig(schedule="cosine", warmup_epochs=1, final_fraction=0.1)
    assert rates(schedule) == pytest.approx([0.05, 0.1, 0.09729, 0.055, 0.01], abs=1e-4)


def test_a_plateau_lowers_the_rate_but_not_below_its_floor():
    schedule = ScheduleConfig(schedule="plateau", plateau_factor=0.5, final_fraction=0.2)
    assert rates(schedule, reductions=1) == [0.05] * 5
    assert rates(schedule, reductions=5) == pytest.approx([0.02] * 5)


def test_a_plateau_is_counted_each_time_patience_runs_out():
    config = TrainConfig(schedule=ScheduleConfig(schedule="plateau", plateau_patience=2))
    assert plateau_reductions(config, history(3, 2, 1)) == 0
    assert plateau_reductions(config, history(3, 4, 4)) == 1
    assert plateau_reductions(config, history(3, 4, 4, 4, 4)) == 2
    assert plateau_reductions(config, history(3, 4, 4, 1, 4)) == 1


def test_the_best_epoch_is_the_earliest_with_the_best_value():
    assert best_row(TrainConfig(monitor="loss"), history(3, 1, 2, 1))["epoch"] == 2
    assert best_row(TrainConfig(monitor="accuracy"), history(0.1, 0.4, 0.4, metric="accuracy"))["epoch"] == 2


def test_a_value_that_is_missing_or_not_a_number_is_never_the_best():
    assert best_row(TrainConfig(), history(float("nan"), None, 7))["epoch"] == 3


def test_a_run_ends_with_its_epochs_or_when_patience_runs_out():
    config = TrainConfig(epochs=5, patience=2)
    assert why_finished(config, []) is None
    assert why_finished(config, history(3, 2, 1)) is None
    assert why_finished(config, history(3, 4, 4)) == "no better validation loss on unseen images for 2 epochs"
    assert why_finished(config, history(5, 4, 3, 2, 1)) == "all 5 epochs done"
    assert why_finished(TrainConfig(epochs=5, patience=0), history(1, 2, 3, 4)) is None


def test_select_decides_over_which_images_best_epoch_early_stop_and_plateau_are_taken():
    memory = [0.5, 0.6, 0.7, 0.8]  # On all images it seems to go on learning.
    rows = [
        {"epoch": i + 1, "validation_macro_f1": one, "validation_macro_f1_unseen": other}
        for i, (one, other) in enumerate(zip(memory, [0.4, 0.5, 0.3, 0.2], strict=True))
    ]
    schedule = ScheduleConfig(schedule="plateau", plateau_patience=2)
    unseen = TrainConfig(monitor="macro_f1", patience=2, schedule=schedule)
    of_all = replace(unseen, select="all")
    assert (unseen.metric, of_all.metric) == ("validation_macro_f1_unseen", "validation_macro_f1")
    assert [best_row(config, rows)["epoch"] for config in (unseen, of_all)] == [2, 4]
    assert [plateau_reductions(config, rows) for config in (unseen, of_all)] == [1, 0]
    assert why_finished(unseen, rows) == "no better validation macro-f1 on unseen images for 2 epochs"
    assert why_finished(of_all, rows) is None


def test_the_original_waits_twenty_epochs():
    assert TrainConfig().patience == 20
