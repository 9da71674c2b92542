"""ResNet-50 weights in the format that Keras publishes, written here by Keras 2's own writer."""

import shutil

import h5py
import keras
import numpy as np
import pytest

from fer_data.errors import UserError
from fer_models import base_weights
from fer_models.base_weights import load_base_weights
from fer_models.card import Card
from fer_models.catalogue import NETWORKS
from fer_models.checkpoint import save_checkpoint
from fer_models.factory import create_model
from fer_models.stages import stages


@pytest.fixture(scope="module")
def published_file(tmp_path_factory):
    """ResNet-50 without top under its published name, every weight another number."""
    import tf_keras

    model = tf_keras.applications.ResNet50(include_top=False, weights=None)
    random = np.random.default_rng(0)
    model.set_weights([random.random(w.shape, np.float32) for w in model.get_weights()])
    path = tmp_path_factory.mktemp("weights") / base_weights.IMAGENET_FILE
    model.save_weights(path)
    return path


@pytest.fixture(scope="module")
def model():
    return create_model("resnet50")


def backbone(model):
    return [layer for name in NETWORKS["resnet50"].stages for layer in stages(model)[name] if layer.weights]


def head(model):
    return [array for layer in stages(model)["head"] for array in layer.get_weights()]


def small_file(path, layers):
    """A weights file of these layers: name → {weight: array}."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in layers]
        for layer, weights in layers.items():
            group = file.create_group(layer)
            group.attrs["weight_names"] = [f"{layer}/{name}:0".encode() for name in weights]
            for name, values in weights.items():
                group[f"{layer}/{name}:0"] = values
    return str(path)


def test_every_parameter_of_a_published_file_arrives_and_the_head_stays(model, published_file):
    before = head(model)
    load_base_weights(model, str(published_file))
    with h5py.File(published_file) as file:
        for layer in backbone(model):
            saved = [file[layer.name][name][()] for name in file[layer.name].attrs["weight_names"]]
            assert [v.sum() for v in layer.get_weights()] == [v.sum() for v in saved], layer.name
            for ours, theirs in zip(layer.get_weights(), saved, strict=True):
                np.testing.assert_array_equal(ours, theirs, err_msg=layer.name)
    arrived = sum(array.size for layer in backbone(model) for array in layer.get_weights())
    assert arrived == 23_587_712  # As Keras gives it for ResNet50 without top.
    for one, other in zip(before, head(model), strict=True):
        np.testing.assert_array_equal(one, other)


def test_none_leaves_the_weights_as_they_are(model):
    before = model.get_weights()
    load_base_weights(model, "none")
    assert all(np.array_equal(one, other) for one, other in zip(before, model.get_weights(), strict=True))


def test_imagenet_is_the_published_file_by_way_of_kerass_cache(model, published_file, monkeypatch):
    asked = []

    def from_cache(name, url, **options):
        asked.append((name, url, options["file_hash"]))
        return str(published_file)

    monkeypatch.setattr(keras.utils, "get_file", from_cache)
    load_base_weights(model, "imagenet")
    (name, url, digest) = asked[0]
    assert url.endswith(f"/keras-applications/resnet/{name}")
    assert name == "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
    assert digest == "4d473c1dd8becc155b73f8504c6f6626"


def test_without_a_network_it_says_how_to_fetch_the_file_by_hand(model, monkeypatch, tmp_path):
    monkeypatch.setattr(base_weights, "IMAGENET_URL", "http://127.0.0.1:9/notop.h5")  # Nobody listens there.
    monkeypatch.setattr(base_weights, "IMAGENET_FILE", f"{tmp_path.name}.h5")
    with pytest.raises(UserError, match=r"fetch http://127\.0\.0\.1:9/notop\.h5 by hand and give --weights") as error:
        load_base_weights(model, "imagenet")
    assert "\n" not in str(error.value)


def test_a_checkpoint_warms_the_backbone_of_another_head_and_input_size(tmp_path):
    donor = create_model("resnet50", head="pooled", preprocessing="imagenet")
    card = Card("resnet50", 1, donor.count_params(), "float32", "challenge", "f00d", {}, [])
    save_checkpoint(str(tmp_path / "checkpoint"), donor, card)
    target = create_model("resnet50", input_size=64, preprocessing="imagenet")
    load_base_weights(target, str(tmp_path / "checkpoint"))
    for one, other in zip(backbone(target), backbone(donor), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one.get_weights(), other.get_weights(), strict=True))


def test_a_checkpoint_of_other_preprocessing_is_refused(tmp_path, model):
    donor = create_model("resnet50", head="pooled", preprocessing="imagenet")
    card = Card("resnet50", 1, donor.count_params(), "float32", "challenge", "f00d", {}, [])
    save_checkpoint(str(tmp_path / "checkpoint"), donor, card)
    with pytest.raises(UserError, match="trained with the preprocessing imagenet, not divide_by_255"):
        load_base_weights(model, str(tmp_path / "checkpoint"))


def test_a_checkpoint_of_another_network_is_refused(tmp_path, model):
    donor = create_model("compact")
    card = Card("compact", 1, donor.count_params(), "float32", "challenge", "f00d", {}, [])
    save_checkpoint(str(tmp_path / "checkpoint"), donor, card)
    with pytest.raises(UserError, match="checkpoint is no ResNet-50"):
        load_base_weights(model, str(tmp_path / "checkpoint"))


def test_only_a_resnet50_takes_weights_without_a_model(published_file):
    with pytest.raises(UserError, match="an HDF5 file without a model"):
        load_base_weights(create_model("cnn"), str(published_file))


def test_a_file_with_a_late_difference_is_refused_and_changes_nothing(model, published_file, tmp_path):
    path = tmp_path / "changed.h5"
    shutil.copy(published_file, path)
    with h5py.File(path, "a") as file:
        del file["conv5_block3_3_bn/conv5_block3_3_bn/gamma:0"]
        file["conv5_block3_3_bn/conv5_block3_3_bn/gamma:0"] = np.ones(5, np.float32)
    before = model.get_weights()
    with pytest.raises(UserError, match="the layer conv5_block3_3_bn has gamma 5, beta 2048"):
        load_base_weights(model, str(path))
    assert all(np.array_equal(one, other) for one, other in zip(before, model.get_weights(), strict=True))


def test_a_file_with_top_is_refused_naming_the_layer(model, published_file, tmp_path):
    path = tmp_path / "with_top.h5"
    shutil.copy(published_file, path)
    with h5py.File(path, "a") as file:
        file.attrs["layer_names"] = [str(name).encode() for name in (*file.attrs["layer_names"], "predictions")]
        file.create_group("predictions").attrs["weight_names"] = [b"predictions/bias:0"]
        file["predictions/predictions/bias:0"] = np.zeros(1000, np.float32)
    with pytest.raises(UserError, match="a layer predictions that ResNet-50 lacks: give the file without top"):
        load_base_weights(model, str(path))


KERNEL, BIAS = np.zeros((7, 7, 3, 64), np.float32), np.zeros(64, np.float32)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ({"conv1": {"kernel": KERNEL, "bias": BIAS}}, "it has no layer conv1_conv"),
        ({"conv1_conv": {"kernel": KERNEL[:, :, :1], "bias": BIAS}}, "kernel 7×7×1×64, bias 64, not kernel 7×7×3×64"),
        ({"conv1_conv": {"kernel": KERNEL}}, "the layer conv1_conv has kernel 7×7×3×64, not"),
        ({"conv1_conv": {"kernel": KERNEL, "bias": BIAS}}, "it has no layer conv1_bn"),
    ],
)
def test_the_first_difference_is_named(model, tmp_path, layers, message):
    with pytest.raises(UserError, match=message):
        load_base_weights(model, small_file(tmp_path / "other.h5", layers))


def test_truncated_foreign_and_missing_files_get_one_line(model, published_file, tmp_path):
    truncated, text, empty = (tmp_path / name for name in ("truncated.h5", "text.h5", "empty.h5"))
    with open(published_file, "rb") as file:
        truncated.write_bytes(file.read(5_000_000))
    text.write_text("no weights")
    h5py.File(empty, "w").close()
    for path, message in (
        (truncated, r"truncated\.h5: a truncated or damaged HDF5 file"),
        (text, r"text\.h5 is no HDF5 file"),
        (empty, r"empty\.h5: an HDF5 file without layer_names"),
        (tmp_path / "missing.h5", r"missing\.h5 does not exist"),
        (tmp_path, r"is not a checkpoint: it has no card\.json"),
    ):
        with pytest.raises(UserError, match=message) as error:
            load_base_weights(model, str(path))
        assert "\n" not in str(error.value)


def test_a_link_to_another_file_is_not_followed(model, published_file, tmp_path):
    path = tmp_path / "links.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"conv1_conv"]
        file["conv1_conv"] = h5py.ExternalLink(str(published_file), "conv1_conv")
    with pytest.raises(UserError, match="it has no layer conv1_conv"):
        load_base_weights(model, str(path))
