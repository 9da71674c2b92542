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


def is_operation(entry: dict[str, Any]) -> bool:
    """Whether an entry among a model's layers is an operation, which has no weights. HDF5 files name no module."""
    module = entry.get("module")
    if module is None:
        return entry.get("class_name") in OPERATIONS and "trainable" not in entry["config"]
    return str(module).startswith(("keras.src.ops", "keras.ops"))
