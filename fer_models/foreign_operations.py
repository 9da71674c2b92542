"""Operations of functional graphs in foreign files: `x / 127.5`, `x[..., ::-1]`, `keras.ops.stack` and the like.

Keras writes them beside the layers. Those listed here are arithmetic on tensors; none takes a function. As with layers,
the class is looked up here and never in the module that the file names.
"""

from typing import Any

OPERATIONS = {
    **dict.fromkeys(
        (
            *("Absolute", "Add", "Concatenate", "Divide", "Exp", "ExpandDims", "Flip", "GetItem", "Maximum", "Mean"),
            *(
                "Minimum",
                "Multiply",
                "Negative",
                "Reshape",
                "Round",
                "Sqrt",
                "Square",
                "Squeeze",
                "Stack",
                "Subtract",
                "Sum",
            ),
            *("Transpose", "TrueDivide"),
        ),
        "keras.src.ops.numpy",
    ),
    "Cast": "keras.src.ops.core",
}
"""The modules of the allowed operations. Left out are those whose output can be far larger than what they get."""
VALUES = {
    "__keras_tensor__": {"shape", "dtype", "keras_history"},
    "__tuple__": set(),
    "__tensor__": {"value", "dtype"},
    "__slice__": {"start", "stop", "step"},
    "__ellipsis__": set(),
}
"""What a call may be given beside numbers, text and lists, and the entries of its configuration."""
_KERAS_2 = {
    "__operators__.add": ("Add", "y"),
    "__operators__.getitem": ("GetItem", "slice_spec"),
    "math.add": ("Add", "y"),
    "math.divide": ("Divide", "y"),
    "math.maximum": ("Maximum", "y"),
    "math.minimum": ("Minimum", "y"),
    "math.multiply": ("Multiply", "y"),
    "math.subtract": ("Subtract", "y"),
    "math.truediv": ("TrueDivide", "y"),
    "nn.bias_add": ("Add", "bias"),
}
"""TensorFlow's functions that Keras 2 writes into graphs: Keras 3's operation, and the name of the second value."""


def is_operation(entry: dict[str, Any]) -> bool:
    """Whether an entry among a model's layers is an operation, which has no weights. HDF5 files name no module."""
    if entry.get("class_name") in ("TFOpLambda", "SlicingOpLambda"):
        return True
    module = entry.get("module")
    if module is None:
        return entry.get("class_name") in OPERATIONS and "trainable" not in entry["config"]
    return str(module).startswith(("keras.src.ops", "keras.ops"))


def in_keras_3(entry: dict[str, Any]) -> str | None:
    """The operation of Keras 3 that an entry of Keras 2 stands for; None for any other entry."""
    if entry.get("class_name") not in ("TFOpLambda", "SlicingOpLambda"):
        return None
    return _KERAS_2.get(str(entry["config"].get("function")), (None, ""))[0]


def node_in_keras_3(entry: dict[str, Any], node: list[Any]) -> dict[str, Any]:
    """A call `node` of Keras 2, [layer, call, output, options], of an `entry` that `in_keras_3` knows."""
    layer, call, output, options = node
    second = options[_KERAS_2[entry["config"]["function"]][1]]
    # Where the first value is a number, it stands in the place of the output.
    first = output if layer == "_CONSTANT_VALUE" else _tensor([layer, call, output])
    if isinstance(second, list) and len(second) == 3 and isinstance(second[0], str):
        second = _tensor(second)
    elif in_keras_3(entry) == "GetItem":
        second = _sliced(second)
    elif isinstance(second, list):
        second = {"class_name": "__tensor__", "config": {"value": second, "dtype": "float32"}}
    return {"args": [first, second], "kwargs": {}}


def _tensor(history: list[Any]) -> dict[str, Any]:
    # Keras reads the shape, and then takes the tensor that the history names.
    return {"class_name": "__keras_tensor__", "config": {"shape": [None], "dtype": "float32", "keras_history": history}}


def _sliced(value: Any) -> Any:
    """`value` with slices and ellipses as Keras 3 writes them."""
    if isinstance(value, list):
        return [_sliced(item) for item in value]
    if isinstance(value, dict):
        kind = value.get("class_name", "__slice__")
        return {"class_name": kind, "config": {} if kind == "__ellipsis__" else value}
    return value
