"""Models that cannot be read, that hold code, or that were made with bad intent: one line each."""

import io
import json
import os
import pickle
import re
import resource
import zipfile
from pathlib import Path

import h5py
import keras
import pytest

from fer_data.errors import UserError
from fer_models import foreign_files
from fer_models.foreign import load_any
from tests.fer_models.test_foreign import small


def changed(path, edit):
    """Applies `edit` to the JSON configuration of the `.keras` archive at `path`."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(parts["config.json"])
    edit(config)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (parts | {"config.json": json.dumps(config).encode()}).items():
            archive.writestr(name, content)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 1025}, "takes 1025×1025×3, not images with 1 or 3 channels and sides of at most 1024 pixels"),
        ({"channels": 4}, "takes 48×48×4, not"),
        ({"classes": 8}, "gives 8 outputs per image, not 7 classes"),
        ({"activation": "linear"}, "its outputs are not probabilities"),
        ({"activation": "hard_sigmoid"}, "the activation hard_sigmoid is not one of Keras's usual ones"),
    ],
)
def test_models_that_cannot_obey_the_contract_are_refused(options, message, tmp_path):
    small(**options).save(tmp_path / "model.keras")
    with pytest.raises(UserError, match=message):
        load_any(str(tmp_path / "model.keras"))


class Custom(keras.layers.Layer):
    def call(self, inputs):
        return inputs


def write_lambda(path):
    small(extra=[keras.layers.Lambda(lambda x: x)]).save(path)


def write_custom_layer(path):
    small(extra=[Custom()]).save(path)


def write_custom_layer_in_disguise(path):
    small().save(path)
    changed(path, lambda config: config["config"]["layers"][1].update(module="os.path", registered_name="a>Conv2D"))


def write_custom_function(path):
    small().save(path)
    function = {"module": "builtins", "class_name": "function", "config": "system", "registered_name": "os"}
    changed(path, lambda config: config["config"]["layers"][1]["config"].update(activation=function))


def write_hidden_lambda(path):
    small().save(path)
    hidden = {"class_name": "__lambda__", "config": {"value": "4wEAAAA="}}
    changed(path, lambda config: config["config"]["layers"][1]["config"].update(strides=hidden))


def write_custom_model(path):
    small().save(path)
    changed(path, lambda config: config.update(class_name="Evil"))


def write_pickled_part(path):
    small().save(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("assets/vocabulary.pkl", pickle.dumps([1]))


def write_path_outside(path):
    small().save(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../../outside", "x")


def write_pickle(path):
    path.write_bytes(pickle.dumps({"model": 1}))


def write_other_zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("holiday.jpg", "x")


def write_truncated_archive(path):
    small().save(path)
    path.write_bytes(path.read_bytes()[:-200])


def write_bad_json(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "[" * 100_000)
        archive.writestr("model.weights.h5", "x")


def write_truncated_weights(path):
    small().save(path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content[:3000] if name.endswith(".h5") else content)


def write_other_weights(path):
    small().save(path)
    changed(path, lambda config: config["config"]["layers"][1]["config"].update(filters=5))


def write_nonsense(path):
    small().save(path)
    changed(path, lambda config: config["config"]["layers"][1]["config"].update(kernel_size=[1000, 1000]))


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (write_lambda, "the class Lambda, which may hold code or is unknown here: refused"),
        (write_custom_layer, "Custom is a custom class, which is code: refused"),
        (write_custom_layer_in_disguise, "a>Conv2D is a custom class, which is code: refused"),
        (write_custom_function, "the activation system is not one of Keras's usual ones: refused"),
        (write_hidden_lambda, "an object of the class __lambda__: refused"),
        (write_custom_model, "a model of the class Evil: only Sequential and functional ones are read"),
        (write_pickled_part, r"the archive holds assets/vocabulary\.pkl, which is not part of a plain model: refused"),
        (write_path_outside, r"the archive holds \.\./\.\./outside"),
        (write_pickle, r"is neither a checkpoint folder nor a model in \.keras or \.h5"),
        (write_other_zip, r"a zip without config\.json and model\.weights\.h5: no Keras archive"),
        (write_truncated_archive, "a truncated or damaged Keras archive"),
        (write_bad_json, r"config\.json: not JSON"),
        (write_truncated_weights, "a truncated or damaged HDF5 file"),
        (write_other_weights, "the layer .* needs weights of shape"),
        (write_nonsense, "Keras cannot rebuild the model"),
    ],
)
def test_what_is_no_plain_model_is_refused_in_one_line(write, message, tmp_path):
    path = tmp_path / "stranger.keras"
    write(path)
    with pytest.raises(UserError, match=message) as error:
        load_any(str(path))
    assert "\n" not in str(error.value)
    assert "stranger.keras" in str(error.value)
    assert os.listdir(tmp_path) == ["stranger.keras"]


def test_hdf5_with_code_or_cut_off_or_of_weights_alone_is_refused(tmp_path):
    import tf_keras as keras2

    small(keras2, extra=[keras2.layers.Lambda(lambda x: x)]).save(tmp_path / "lambda.h5")
    small(keras2).save_weights(tmp_path / "weights.h5")
    small(keras2).save(tmp_path / "model.h5")
    (tmp_path / "truncated.h5").write_bytes((tmp_path / "model.h5").read_bytes()[:5000])
    with h5py.File(tmp_path / "model.h5", "a") as file:
        for name in [name for name in file["model_weights"] if name.startswith("dense")]:
            del file["model_weights"][name]
            file["model_weights"][name] = h5py.ExternalLink(str(tmp_path / "weights.h5"), name)
    for name, message in (
        ("lambda", "the class Lambda, which may hold code"),
        ("weights", "an HDF5 file without a model"),
        ("truncated", "a truncated or damaged HDF5 file"),
        ("model", r"the layer dense\w* needs weights of shape .*, the file has \[\]"),
    ):
        with pytest.raises(UserError, match=message) as error:
            load_any(str(tmp_path / f"{name}.h5"))
        assert "\n" not in str(error.value)


def test_parts_beyond_their_bounds_are_not_read(monkeypatch, tmp_path):
    small().save(tmp_path / "model.keras")
    monkeypatch.setitem(foreign_files._LIMITS, "model.weights.h5", 1000)
    with pytest.raises(UserError, match=r"model\.weights\.h5 has .* MB: refused"):
        load_any(str(tmp_path / "model.keras"))


def test_nothing_and_folders_that_are_no_checkpoints_are_named(tmp_path):
    with pytest.raises(UserError, match=r"missing\.keras does not exist"):
        load_any(str(tmp_path / "missing.keras"))
    with pytest.raises(UserError, match=r"is not a checkpoint: it has no card\.json"):
        load_any(str(tmp_path))


def test_a_text_that_claims_gigabytes_is_refused_without_reserving_them(tmp_path):
    whole = io.BytesIO()
    with h5py.File(whole, "w") as file:
        file.attrs["model_config"] = "x" * 1000
    content = whole.getvalue()
    at = content.index((1000).to_bytes(4, "little") + content.index(b"GCOL").to_bytes(8, "little"))
    claimed = content[:at] + (2**31).to_bytes(4, "little") + content[at + 4 :]
    (tmp_path / "claims.h5").write_bytes(claimed)
    before = resource.getrlimit(resource.RLIMIT_DATA)
    Path("/proc/self/clear_refs").write_text("5")  # The peak of memory begins here.
    with pytest.raises(UserError, match="a truncated or damaged HDF5 file"):
        load_any(str(tmp_path / "claims.h5"))
    status = Path("/proc/self/status").read_text()
    peak, now = (int(re.search(rf"{name}:\s+(\d+)", status)[1]) for name in ("VmHWM", "VmRSS"))
    assert peak - now < 400_000, "kilobytes"
    assert resource.getrlimit(resource.RLIMIT_DATA) == before
