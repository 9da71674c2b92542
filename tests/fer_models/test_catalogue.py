"""What the catalogue says of each network is so, and every place that names networks follows it."""

import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields, replace
from importlib import import_module

import pytest

from cluster import sizing
from fer_data.errors import UserError
from fer_models.catalogue import NETWORKS, networks_with
from fer_models.factory import create_model, multiply_adds
from jobs.training.config import TrainConfig
from jobs.training.defaults import DEFAULTS
from jobs.training.option_groups import BackboneConfig
from jobs.training.options import parse_train_options
from jobs.tuning.options import parse_sweep_options
from jobs.tuning.report import commands
from jobs.tuning.sweep_folder import SweepFolder
from tests.conftest import REPOSITORY

OF_BACKBONES = {"input_size": 64, "preprocessing": "divide_by_255", "head": "pooled", "stem": "small"}
CHANGED = {"dropout": 0.25, "width": 2.0, **OF_BACKBONES}
"""Another value than the default for every option that not all networks take."""


def changed(config: TrainConfig, *options: str) -> TrainConfig:
    """`config` with the values in CHANGED of these options."""
    backbone = replace(config.backbone, **{name: CHANGED[name] for name in options if name in OF_BACKBONES})
    plain = {name: CHANGED[name] for name in options if name not in OF_BACKBONES}
    return replace(config, backbone=backbone, **plain)


def test_the_help_of_the_option_names_every_network_and_its_job(capsys):
    with pytest.raises(SystemExit):
        parse_train_options(["--help"], "train_cnn", None)
    words = " ".join(capsys.readouterr().out.split())
    (said,) = re.findall(r"The network: (.*?)\. \(default", words.replace("│ │", ""))
    named = {network: job for part in said.split(".py") for network, job in _networks_of(part)}
    assert named == {name: network.job for name, network in NETWORKS.items()}


def _networks_of(part: str) -> Iterator[tuple[str, str]]:
    networks, _, job = part.strip(", ").partition(" for ")
    yield from ((name, job) for name in re.findall(r"\w+", networks.replace(" or ", ", ")))


@pytest.fixture(scope="module", params=NETWORKS)
def built(request):
    return request.param, create_model(request.param)


def test_the_sizes_are_the_networks_own(built):
    name, model = built
    network = NETWORKS[name]
    assert model.count_params() == network.parameters
    assert sum(int(v.shape.num_elements()) for v in model.trainable_variables) == network.trainable_parameters
    assert multiply_adds(model) == network.multiply_adds
    assert model.name == name


@pytest.mark.parametrize("name", NETWORKS)
def test_a_configuration_builds_the_network_with_its_own_options(name):
    network = NETWORKS[name]
    assert set(network.options) <= CHANGED.keys()
    config = changed(TrainConfig(name), *network.options)
    module, _, function = network.builder.partition(":")
    arguments = config.builder_arguments()
    assert arguments.keys() == inspect.signature(getattr(import_module(module), function)).parameters.keys()
    assert create_model(name, **arguments).get_layer("dropout").rate == CHANGED["dropout"]


@pytest.mark.parametrize("option", CHANGED)
@pytest.mark.parametrize("name", NETWORKS)
def test_an_option_of_other_networks_is_refused_with_the_networks_that_take_it(name, option):
    if option in NETWORKS[name].options:
        changed(TrainConfig(name), option)
        return
    with pytest.raises(ValueError, match=f"is for --model {' or '.join(networks_with(option))}, not {name}"):
        changed(TrainConfig(name), option)


def test_the_options_of_networks_are_fields_of_a_configuration():
    names = {field.name for kind in (TrainConfig, BackboneConfig) for field in fields(kind)}
    assert {option for network in NETWORKS.values() for option in network.options} == CHANGED.keys() <= names


def test_every_network_has_a_default_configuration():
    assert DEFAULTS.keys() == NETWORKS.keys()
    assert [config.model for config in DEFAULTS.values()] == list(NETWORKS)


@pytest.mark.parametrize("name", NETWORKS)
def test_its_job_and_the_sweep_train_it_and_other_jobs_do_not(name):
    for job in {network.job for network in NETWORKS.values()}:
        assert (REPOSITORY / f"jobs/{job}.py").exists()
        if job == NETWORKS[name].job:
            assert parse_train_options(["--model", name], job, None).train == DEFAULTS[name]
        else:
            with pytest.raises(UserError, match=f"not --model {name}"):
                parse_train_options(["--model", name], job, None)
    assert parse_sweep_options(["--model", name], None).train == DEFAULTS[name]


@pytest.mark.parametrize("name", NETWORKS)
def test_the_report_of_a_sweep_names_its_job(name, tmp_path):
    for command in commands(SweepFolder(str(tmp_path)), DEFAULTS[name]):
        assert command.startswith(f"python jobs/{NETWORKS[name].job}.py --config ")


@pytest.mark.parametrize("name", NETWORKS)
def test_sizing_knows_it(name, capsys):
    sizing.main(["--model", name, "--rate", "100"])
    assert capsys.readouterr().out.startswith(f"{name}: {NETWORKS[name].multiply_adds / 1e6:.0f} M multiply-adds")


def test_an_unknown_network_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match=f"--model must be one of {', '.join(NETWORKS)}"):
        TrainConfig("vgg")


def test_it_is_light():
    code = "import sys, fer_models.catalogue; assert not {'keras', 'tensorflow', 'numpy', 'ray'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True, capture_output=True)
