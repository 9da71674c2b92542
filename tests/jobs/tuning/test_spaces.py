import optuna
import pytest

from fer_data.errors import UserError
from jobs.training.defaults import DEFAULTS
from jobs.tuning.spaces import (
    PRESETS,
    Choice,
    Range,
    check_space,
    configured,
    defaults,
    differences,
    open_space,
    suggest,
)

COMPACT = DEFAULTS["compact"]


@pytest.mark.parametrize("model", DEFAULTS)
@pytest.mark.parametrize("preset", PRESETS)
def test_every_point_of_every_preset_can_be_trained_with_every_model(model, preset):
    base = DEFAULTS[model]
    space = open_space(preset, base)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    for _ in range(50):
        point = suggest(space, study.ask())
        flat = configured(base, point).flat()
        assert {name: flat[name] for name in point} == point


@pytest.mark.parametrize("preset", ["learning-rate", "augmentation"])
@pytest.mark.parametrize("model", DEFAULTS)
def test_the_default_configurations_lie_within_the_presets(model, preset):
    point = defaults(PRESETS[preset], DEFAULTS[model])
    assert point is not None
    assert configured(DEFAULTS[model], point) == DEFAULTS[model]


def test_a_parameter_with_a_condition_is_asked_for_only_where_it_holds():
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    points = [suggest(PRESETS["full"], study.ask()) for _ in range(40)]
    assert {point["schedule"] for point in points} == {"constant", "cosine"}
    assert all(("warmup_epochs" in point) == (point["schedule"] == "cosine") for point in points)
    assert all(("weight_decay" in point) == (point["optimizer"] == "adamw") for point in points)
    assert configured(COMPACT, {"optimizer": "adam"}).optimizer.weight_decay == 0


def test_logarithmic_ranges_are_equally_likely_in_each_decade():
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    space = {"learning_rate": Range(1e-5, 1e-1, log=True)}
    low = sum(suggest(space, study.ask())["learning_rate"] < 1e-3 for _ in range(400))
    assert 160 < low < 240


def test_a_space_file_is_read(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(
        "[schedule]\nchoices = ['constant', 'cosine']\n[warmup_epochs]\nlow = 0.0\nhigh = 2.0\n"
        "when = { schedule = ['cosine'] }\n[batch_size]\nlow = 32\nhigh = 256\nlog = true\n"
    )
    assert open_space(str(file), COMPACT) == {
        "schedule": Choice(["constant", "cosine"]),
        "warmup_epochs": Range(0.0, 2.0, when={"schedule": ["cosine"]}),
        "batch_size": Range(32, 256, log=True),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no parameters"),
        ("[learning_rat]\nlow = 1\nhigh = 2", "learning_rat is not an option of the training jobs"),
        ("[epochs]\nlow = 1\nhigh = 2", "epochs is the same for the whole sweep"),
        ("[learning_rate]\nlow = 0.1\nhigh = 0.01", "the range 0.1 to 0.01 is empty"),
        ("[learning_rate]\nlow = 0.1\nhigh = 0.1", "is empty"),
        ("[learning_rate]\nlow = 0.0\nhigh = 0.1\nlog = true", "must begin above 0"),
        ("[learning_rate]\nlow = 0.1", "learning_rate: high: "),
        ("[learning_rate]\nlow = '1'\nhigh = 2.0", "learning_rate: low"),
        ("[learning_rate]\nlow = 1.0\nhigh = 2.0\nlogarithmic = true", "learning_rate: logarithmic: "),
        ("[dropout]\nlow = 0.0\nhigh = 1.5", "--dropout must be at least 0 and below 1"),
        ("[schedule]\nchoices = ['cosine']", "at least two"),
        ("[schedule]\nchoices = ['cosine', 'linear']", "schedule"),
        ("[warmup_epochs]\nlow = 0.0\nhigh = 1.0\nwhen = { schedule = ['cosine'] }", "names schedule, which must be"),
        (
            "[schedule]\nchoices = ['constant', 'cosine']\n[warmup_epochs]\nlow = 0.0\nhigh = 1.0\n"
            "when = { schedule = ['plateau'] }",
            "which it never is",
        ),
        ("[learning_rate\n", "not TOML"),
        ("learning_rate = 3", "give it as [learning_rate]"),
    ],
)
def test_a_bad_space_file_is_refused_by_name(tmp_path, text, message):
    file = tmp_path / "bad.toml"
    file.write_text(text)
    with pytest.raises(UserError) as refusal:
        open_space(str(file), COMPACT)
    assert str(file) in str(refusal.value)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_an_unknown_preset_names_those_there_are():
    with pytest.raises(UserError, match="learning-rate, augmentation, full or a"):
        open_space("everything", COMPACT)


def test_changes_of_a_space_are_named():
    one = {"dropout": {"low": 0.0, "high": 0.5}, "shift": {"low": 0.0, "high": 0.1}}
    other = {"dropout": {"low": 0.0, "high": 0.6}, "zoom": {"low": 0.0, "high": 0.1}}
    assert differences(one, other) == ["dropout: high 0.5 -> high 0.6", "shift removed", "zoom added"]


def test_a_condition_on_an_option_that_the_model_lacks_is_refused():
    with pytest.raises(UserError, match=r"input_size: .*is for --model resnet50"):
        check_space({"input_size": Choice([48, 96])}, COMPACT, "here")
