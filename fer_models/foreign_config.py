"""Rebuild a foreign model from its configuration, layer by layer, with allowed layers only.

Keras 2 and 3 describe the same layers differently. Settings that matter only to training (initialisers, regularisers,
constraints, the compiled loss) are dropped. The rest must be an ordinary layer with an ordinary activation. Classes are
never looked up in a module that the file names.
"""

from typing import Any

import keras

from fer_data.errors import UserError
from fer_data.storage import one_line, printable
from fer_models.bounds import build_within_bounds, check_layers
from fer_models.foreign_operations import OPERATIONS, VALUES, in_keras_3, is_operation, node_in_keras_3

CONTAINERS = ("Sequential", "Functional", "Model")
# fmt: off
LAYERS = frozenset((
    "Activation", "Add", "AlphaDropout", "Average", "AveragePooling2D", "BatchNormalization", "Concatenate",
    "Conv1D", "Conv2D", "Conv2DTranspose", "Cropping1D", "Cropping2D", "Dense", "DepthwiseConv2D", "Dropout", "ELU",
    "Flatten", "GaussianDropout", "GaussianNoise", "GlobalAveragePooling2D", "GlobalMaxPooling2D",
    "GroupNormalization", "Identity", "LayerNormalization", "LeakyReLU", "MaxPooling2D", "Maximum", "Minimum",
    "Multiply", "Normalization",
    "PReLU", "Permute", "RandomContrast", "RandomFlip", "RandomRotation", "RandomTranslation", "RandomZoom", "ReLU",
    "Rescaling", "Reshape", "Resizing", "SeparableConv2D", "Softmax", "SpatialDropout2D", "Subtract",
    "UnitNormalization", "UpSampling2D", "ZeroPadding2D",
))
ACTIVATIONS = frozenset((
    "elu", "exponential", "gelu", "hard_silu", "hard_swish",
    "leaky_relu", "linear", "mish", "relu", "relu6", "selu", "sigmoid", "silu",
    "softmax", "softplus", "softsign", "swish", "tanh",
))
# fmt: on
"""Activations that are the same in Keras 2 and 3; hard_sigmoid is not."""
_ONLY_TRAINING = ("_initializer", "_regularizer", "_constraint")
_OBSOLETE = {"batch_input_shape", "dtype", "registered_name", "quantization_config", "input_shape"}


def rebuild(config: Any, where: str, file_bytes: int) -> keras.Model:
    """The model that `config` (Keras 2 or 3, from a file of `file_bytes`) describes, in float32, with new weights.

    Raises UserError for code (Lambda layers, custom classes and functions), for layers not in LAYERS, and for a
    configuration that Keras cannot rebuild or that is out of bounds.
    """
    try:
        check_layers(config, where)
        clean = _container(_renamed(config, _slashed(config)), where)

        def build() -> keras.Model:
            model = keras.saving.deserialize_keras_object(clean, safe_mode=True)
            _ = model.inputs, model.outputs  # A Sequential model that states no input shape has neither.
            return model

        return build_within_bounds(build, where, file_bytes)
    except UserError:
        raise
    except Exception as error:  # On a damaged configuration Keras raises exceptions of any type.
        raise UserError(f"{where}: Keras cannot rebuild the model: {one_line(_root_cause(error))}") from error


def without_slashes(name: str) -> str:
    """The name in the rebuilt model of what the file calls `name`: Keras 3 allows no slash (`block1/conv`)."""
    return name.replace("/", ">")


def container_layers(config: dict[str, Any]) -> list[dict[str, Any]]:
    """The entries of a Sequential's or functional model's layers, in the file's order."""
    return config["config"]["layers"]


def _slashed(value: Any) -> set[str]:
    """The names with a slash of the layers and models in `value`."""
    if isinstance(value, list):
        return set().union(*map(_slashed, value))
    if isinstance(value, dict):
        own = {value["name"]} if "/" in str(value.get("name")) else set()
        return own.union(*map(_slashed, value.values()))
    return set()


def _renamed(value: Any, slashed: set[str]) -> Any:
    """`value` in which the names in `slashed`, and what refers to them, have no slash."""
    if isinstance(value, list):
        return [_renamed(item, slashed) for item in value]
    if isinstance(value, dict):
        return {key: _renamed(item, slashed) for key, item in value.items()}
    return without_slashes(value) if isinstance(value, str) and value in slashed else value


def _container(entry: Any, where: str) -> dict[str, Any]:
    if not isinstance(entry, dict) or not isinstance(entry.get("config"), dict):
        raise UserError(f"{where}: its configuration is not that of a Sequential or functional model")
    kind, config = entry.get("class_name"), entry["config"]
    if kind not in CONTAINERS or not isinstance(config.get("layers"), list):
        raise UserError(f"{where}: a model of the class {_shown(kind)}: only Sequential and functional ones are read")
    _require_builtin(entry, where)
    layers = [_layer(layer, where) for layer in config["layers"]]
    if kind == "Sequential":
        shape = config.get("build_input_shape") or (entry.get("build_config") or {}).get("input_shape")
        if layers and layers[0]["class_name"] != "InputLayer" and shape:
            layers.insert(0, _input({"config": {"batch_shape": shape}}))
        return _object("keras", "Sequential", {"name": config["name"], "layers": layers})
    nested = {layer["config"]["name"] for layer in layers if layer["class_name"] in CONTAINERS}
    for layer, theirs in zip(layers, config["layers"], strict=True):
        layer["name"] = theirs["name"]
        nodes = [_node(node, nested, where) for node in theirs["inbound_nodes"]]
        layer["inbound_nodes"] = [node_in_keras_3(theirs, node) for node in nodes] if in_keras_3(theirs) else nodes
    ends = {key: _ends(config[key], where) for key in ("input_layers", "output_layers")}
    return _object("keras", "Model", {"name": config["name"], "layers": layers, **ends})


def _layer(entry: Any, where: str) -> dict[str, Any]:
    if not isinstance(entry, dict) or not isinstance(entry.get("config"), dict):
        raise UserError(f"{where}: its configuration has an entry that is not a layer")
    kind = entry.get("class_name")
    if kind in CONTAINERS:
        return _container(entry, where)
    _require_builtin(entry, where)
    if kind == "InputLayer":
        return _input(entry)
    if operation := in_keras_3(entry):
        return _object(OPERATIONS[operation], operation, {"name": entry["config"]["name"]})
    if is_operation(entry) and kind in OPERATIONS:
        return _object(OPERATIONS[kind], kind, {key: _plain(value, where) for key, value in entry["config"].items()})
    if kind not in LAYERS or is_operation(entry):
        raise UserError(
            f"{where}: the layer {_shown(entry['config'].get('name'))} is of the class {_shown(kind)}, "
            f"which may hold code or is unknown here: refused"
        )
    config: dict[str, Any] = {"dtype": "float32"}
    for key, value in entry["config"].items():
        if key in _OBSOLETE or key.endswith(_ONLY_TRAINING) or (key == "groups" and "Conv2D" in kind and value == 1):
            continue
        if key == "alpha" and kind == "LeakyReLU":
            key = "negative_slope"
        config[key] = _activation(value, where) if key == "activation" else _plain(value, where)
    if kind == "BatchNormalization" and isinstance(config.get("axis"), list):
        config["axis"] = config["axis"][0]  # Keras 2 writes a list of one number.
    return _object("keras.layers", kind, config)


def _input(entry: dict[str, Any]) -> dict[str, Any]:
    config = entry["config"]
    shape = config.get("batch_shape") or config.get("batch_input_shape")
    kept = {"batch_shape": [None, *shape[1:]], "dtype": config.get("dtype") or "float32", "name": config.get("name")}
    return _object("keras.layers", "InputLayer", kept)


def _node(node: Any, nested: set[str], where: str) -> Any:
    """One call of a layer: in Keras 2 a list of (layer, call, output, options), in Keras 3 a dictionary."""
    plain = _plain(node, where)
    if not isinstance(plain, list):
        return plain
    if plain and isinstance(plain[0], str):  # An operation's only tensor.
        return [plain[0], plain[1] - (plain[0] in nested), *plain[2:]]
    # Keras 2 counts building a nested model as its first call; Keras 3 does not.
    return [[tensor[0], tensor[1] - (tensor[0] in nested), *tensor[2:]] for tensor in plain]


def _ends(tensors: Any, where: str) -> Any:
    """A model's inputs or outputs; Keras 2 writes a list even for one."""
    plain = _plain(tensors, where)
    return plain[0] if len(plain) == 1 and isinstance(plain[0], list) else plain


def _activation(value: Any, where: str) -> str:
    name = value
    if isinstance(value, dict) and value.get("class_name") == "function":
        name = value.get("config")
    if name is None:
        return "linear"
    if name not in ACTIVATIONS:
        raise UserError(f"{where}: the activation {_shown(name)} is not one of Keras's usual ones: refused")
    return name


def _plain(value: Any, where: str) -> Any:
    """`value` if it holds only numbers, text, lists and references to tensors; anything else could be code."""
    if isinstance(value, list):
        return [_plain(item, where) for item in value]
    if isinstance(value, dict):
        if value.get("class_name") == "__numpy__":
            return value["config"]["value"]
        if value.get("class_name", "__keras_tensor__") not in VALUES:
            raise UserError(f"{where}: an object of the class {_shown(value['class_name'])}: refused")
        return {key: _plain(item, where) for key, item in value.items()}
    return value


def _require_builtin(entry: dict[str, Any], where: str) -> None:
    if not isinstance(entry["config"].get("name"), str):
        raise UserError(f"{where}: its configuration has a {_shown(entry.get('class_name'))} without a name")
    module, kind, registered = entry.get("module"), entry.get("class_name"), entry.get("registered_name")
    if (module and str(module).partition(".")[0] not in ("keras", "tf_keras")) or registered not in (None, kind):
        raise UserError(f"{where}: {_shown(registered or kind)} is a custom class, which is code: refused")


def _object(module: str, kind: str, config: dict[str, Any]) -> dict[str, Any]:
    return {"module": module, "class_name": kind, "config": config, "registered_name": None}


def _root_cause(error: BaseException) -> BaseException:
    """The first failure: Keras wraps it once for each level of nesting."""
    cause = error.__cause__ or error.__context__
    return error if cause is None else _root_cause(cause)


def _shown(name: Any) -> str:
    return printable(str(name))[:80]
