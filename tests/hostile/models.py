"""Networks that mean harm, made by code, as in `inputs`: Keras files, LiteRT and ONNX."""

import io
import json
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np

from tests.hostile.inputs import RELEASED, Input, torn_in, zipped


def _keras(config: Any, arrays: dict[str, Any] | None = None, **more: bytes) -> bytes:
    weights = io.BytesIO()
    with h5py.File(weights, "w") as file:
        for name, values in (arrays or {}).items():
            file.create_dataset(name, data=values) if not isinstance(values, dict) else file.create_dataset(
                name, **values
            )
    text = config if isinstance(config, bytes) else json.dumps(config).encode()
    return zipped({"config.json": text, "model.weights.h5": weights.getvalue(), "metadata.json": b"{}", **more})


def _sequential(*layers: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    first = {"class_name": "InputLayer", "config": {"name": "in", "batch_shape": [None, 48, 48, 1], "dtype": "float32"}}
    rest = [{"class_name": kind, "config": {"name": f"l{i}", **more}} for i, (kind, more) in enumerate(layers)]
    return {"class_name": "Sequential", "config": {"name": "s", "layers": [first, *rest]}}


def _functional(name: str, *calls: tuple[str, str, dict[str, Any], list[list[str]]]) -> dict[str, Any]:
    """A model of (class, name, configuration, the names that each call gets); its last layer gives the result."""
    first = {"name": "in", "class_name": "InputLayer", "inbound_nodes": []}
    first["config"] = {"name": "in", "batch_shape": [None, 48, 48, 1], "dtype": "float32"}
    layers, times = [first], {"in": 0}
    for kind, label, config, nodes in calls:
        nested = kind == "Functional"  # Whose first call Keras 2 numbers 1.
        inbound = [[[taken, times.get(taken, int(nested)), 0, {}] for taken in node] for node in nodes]
        more = config if "layers" in config else {"name": label, "trainable": False, **config}
        layers.append({"name": label, "class_name": kind, "config": more, "inbound_nodes": inbound})
        times[label] = len(nodes) - 1 + nested
    ends = {"input_layers": [["in", 0, 0]], "output_layers": [[label, times[label], 0]]}
    return {"class_name": "Functional", "config": {"name": name, "layers": layers, **ends}}


def _doubling(depth: int) -> dict[str, Any]:
    """A model that calls a model twice, which calls a model twice…"""
    model = _functional("m", ("ReLU", "relu", {}, [["in"]]))
    for level in range(depth):
        config = model["config"] | {"name": f"m{level}"}
        model = _functional("m", ("Functional", f"m{level}", config, [["in"], [f"m{level}"]]))
    return model


def _many_results(count: int) -> dict[str, Any]:
    """A model whose layers give little each, and much together, all of it needed to the end."""
    up = [("UpSampling2D", f"u{i}", {"size": [40, 40]}, [["in"]]) for i in range(count)]
    names = [f"u{i}" for i in range(count)]
    end = ("GlobalAveragePooling2D", "mean", {}, [["sum"]]), ("Dense", "end", {"units": 7}, [["mean"]])
    return _functional("m", *up, ("Add", "sum", {}, [names]), *end, ("Softmax", "y", {}, [["end"]]))


def networks() -> Iterator[Input]:
    flat, end = ("Flatten", {}), ("Dense", {"units": 7, "activation": "softmax"})
    for name, layers in {
        "dense": (flat, ("Dense", {"units": 200_000}), end),
        "dense2": (flat, ("Dense", {"units": 2**40}), end),
        "conv": (("Conv2D", {"filters": 100_000, "kernel_size": [48, 48]}), flat, end),
        "padding": (("ZeroPadding2D", {"padding": [[20_000, 20_000], [20_000, 20_000]]}), flat, end),
        "upsampling": (("UpSampling2D", {"size": [500, 500]}), ("GlobalAveragePooling2D", {}), end),
        "resizing": (("Resizing", {"height": 60_000, "width": 60_000}), ("GlobalAveragePooling2D", {}), end),
        "work": (*((("Conv2D", {"filters": 999, "kernel_size": 31, "padding": "same"}),) * 3), flat, end),
        "deep": (*((("ReLU", {}),) * 5_000), flat, end),
        "lambda": (("Lambda", {"function": {"class_name": "__lambda__", "config": {"code": "4wEA"}}}), flat, end),
        "torch": (("TorchModuleWrapper", {"module": "x"}), flat, end),
        "tfsm": (("TFSMLayer", {"filepath": "/etc"}), flat, end),
        "activation": (flat, ("Dense", {"units": 7, "activation": "os>system"})),
        "units": (flat, ("Dense", {"units": -7})),
        "text": (flat, ("Dense", {"units": "many\x1b[2J\nerror: forged"})),
        "nan": (("Rescaling", {"scale": float("nan")}), flat, end),
        "name": (flat, ("Dense", {"units": 7, "name": "\x1b]8;;http://evil\x1b\\\nerror: all is well"})),
    }.items():
        yield "network", f"{name}.keras", _keras(_sequential(*layers))
    yield "network", "doubling.keras", _keras(_doubling(24))
    yield "network", "many results.keras", _keras(_many_results(100))
    plain = _sequential(flat, end)
    kernel = {"layers/dense/vars/0": {"shape": (2304, 7), "dtype": "f4"}}
    huge = {"shape": (10**5, 10**5), "dtype": "f4", "chunks": (100, 100), "compression": "gzip"}
    for name, data in {
        "config": _keras(b"[" * 100_000),
        "config2": _keras(b"{}"),
        "config3": _keras(b"null"),
        "large config": _keras(b" " * 3_000_000 + b"{}"),
        "huge array": _keras(plain, {**kernel, "layers/dense/vars/1": huge}),
        "no arrays": _keras(plain),
        "text arrays": _keras(plain, {"layers/dense/vars/0": b"x"}),
        "extra": _keras(plain, **{"evil.py": b"import os"}),
        "swollen": zipped({"config.json": b"{}", "model.weights.h5": bytes(3 * 10**8)}),
        "torn": (RELEASED / "model.keras").read_bytes()[:50_000],
        "empty": b"",
        "pickle": b"\x80\x04cos\nsystem\n(S'id'\ntR.",
    }.items():
        yield "network", f"{name}.keras", data
    whole = _keras(plain)
    for seed in range(24):  # In the compressed parts, where zipfile passes on what zlib raises.
        yield "network", f"torn{seed}.keras", torn_in(whole, 30, len(whole) // 2, seed)
    yield from _whole_models(plain)


def _whole_models(plain: dict[str, Any]) -> Iterator[Input]:
    for name in ("forty", "virtual", "external", "links", "names"):
        file = io.BytesIO()
        with h5py.File(file, "w") as h5:
            h5.attrs["model_config"] = json.dumps(plain)
            group = h5.create_group("model_weights")
            group.attrs["layer_names"] = [b"l1"] * (40 if name == "forty" else 1)
            layer = group.create_group("l1")
            layer.attrs["weight_names"] = [b"k"] * (40 if name == "forty" else 1)
            if name == "forty":
                layer.create_dataset("k", (2304, 4000), "f4", chunks=(2304, 40), compression="gzip", fillvalue=1)
            elif name == "virtual":
                layout = h5py.VirtualLayout((10**5, 10**4), "f4")
                layout[:] = h5py.VirtualSource("/etc/passwd", "x", (10**5, 10**4))
                layer.create_virtual_dataset("k", layout)
            elif name == "external":
                layer.create_dataset("k", (2304, 7), "f4", external=[("/etc/passwd", 0, 64512)])
            elif name == "links":
                layer["k"] = h5py.ExternalLink("/etc/passwd", "/x")
            else:
                group.attrs["layer_names"] = ["\x1b[2J\nerror: forged"]
        yield "network", f"{name}.h5", file.getvalue()


def exports() -> Iterator[Input]:
    litert = (RELEASED / "model.tflite").read_bytes()
    labels = litert.rindex(b"PK\3\4")  # A zip at the file's end, which the interpreter does not read.
    for seed in range(8):
        yield "litert", f"labels{seed}.tflite", torn_in(litert, labels, len(litert), seed)
    for share in (0.001, 0.3, 0.9):
        yield "litert", f"cut{share}.tflite", litert[: int(share * len(litert))]
    for name, data in {
        "empty": b"",
        "zeros": bytes(4096),
        "text": b"\x1b[2J" * 99,
        "labels": litert + b"PK\x05\x06",
    }.items():
        yield "litert", f"{name}.tflite", data
        yield "onnx", f"{name}.onnx", data[:4096]
    onnx = b"\x08\x08\x3a\x1e\x2a\x1c\x08\x07\x10\x01\x42\x01w\x6a\x11\x0a\x08location\x12\x05w.bin\x70\x01"
    yield "onnx", "external.onnx", onnx
    yield "onnx", "overlong.onnx", onnx.replace(b"\x0a\x08loc", b"\x8a\x00\x88\x00loc")
    yield from _onnx_of_large_results()
    for name, constant in (("static", True), ("dynamic", False)):
        yield "litert", f"{name}.tflite", _litert_of_large_results(constant)


def _litert_of_large_results(constant: bool) -> bytes:
    """A model that repeats its image 160,000 times, but says that it does not. How often may come of a sum."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    buffers, tensors, operators = [schema.BufferT()], [], []

    def tensor(shape: list[int], kind: str, content: Any = None) -> int:
        made = schema.TensorT()
        made.shape, made.type, made.name = shape, getattr(schema.TensorType, kind), f"t{len(tensors)}"
        if content is not None:
            made.buffer = len(buffers)
            buffers.append(schema.BufferT())
            buffers[-1].data = np.frombuffer(np.int32(content).tobytes(), np.uint8)
        tensors.append(made)
        return len(tensors) - 1

    codes = ["TILE", "MEAN", "SOFTMAX", "ADD"]

    def operator(code: str, taken: list[int], given: int) -> None:
        made = schema.OperatorT()
        made.opcodeIndex, made.inputs, made.outputs = codes.index(code), taken, [given]
        options = {"MEAN": "Reducer", "SOFTMAX": "Softmax", "ADD": "Add"}.get(code)
        if options:
            made.builtinOptionsType = getattr(schema.BuiltinOptions, f"{options}Options")
            made.builtinOptions = getattr(schema, f"{options}OptionsT")()
        operators.append(made)

    image, big = tensor([1, 48, 48, 1], "FLOAT32"), tensor([1, 48, 48, 7], "FLOAT32")
    times, axes = tensor([4], "INT32", [1, 400, 400, 7]), tensor([2], "INT32", [1, 2])
    mean, end = tensor([1, 7], "FLOAT32"), tensor([1, 7], "FLOAT32")
    if not constant:
        nothing, times_ = tensor([4], "INT32", [0, 0, 0, 0]), tensor([4], "INT32")
        operator("ADD", [times, nothing], times_)
        times = times_
    operator("TILE", [image, times], big)
    operator("MEAN", [big, axes], mean)
    operator("SOFTMAX", [mean], end)
    graph, model = schema.SubGraphT(), schema.ModelT()
    graph.tensors, graph.operators, graph.inputs, graph.outputs = tensors, operators, [image], [end]
    model.version, model.subgraphs, model.buffers = 3, [graph], buffers
    for code in codes:
        made = schema.OperatorCodeT()
        made.builtinCode = made.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, code)
        model.operatorCodes = [*(model.operatorCodes or []), made]
    builder = flatbuffers.Builder(4096)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _onnx_of_large_results() -> Iterator[Input]:
    """Models of a few hundred bytes whose results on the way to the end are enormous, or never come."""
    from onnx import TensorProto, helper, numpy_helper

    def model(*nodes: tuple[str, list[str], str], body: Any = None, **arrays: Any) -> bytes:
        end = [("Pool", ["big"], "mean"), ("Flatten", ["mean"], "flat"), ("Gemm", ["flat", "w"], "z")]
        arrays["w"] = np.zeros((48, 7), np.float32)
        made = [
            helper.make_node("GlobalAveragePool" if kind == "Pool" else kind, names, [out])
            for kind, names, out in (*nodes, *end, ("Softmax", ["z"], "y"))
        ]
        if body is not None:
            made[0].attribute.append(helper.make_attribute("body", body))
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 48, 48, 1])
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 7])
        constants = [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()]
        graph = helper.make_graph(made, "g", [x], [y], constants)
        opset = [helper.make_opsetid("", 17)]
        return helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()

    yield "onnx", "pad.onnx", model(("Pad", ["x", "p"], "big"), p=[0, 0, 4_000_000, 0, 0, 0, 0, 0])
    yield "onnx", "tile.onnx", model(("Tile", ["x", "t"], "big"), t=[1, 1, 40_000, 1])
    resized = ("Resize", ["x", "", "s"], "big")
    yield "onnx", "resize.onnx", model(resized, s=np.float32([1, 1, 40_000, 1]))
    outer = ("Reshape", ["x", "c"], "column"), ("Reshape", ["x", "r"], "row"), ("MatMul", ["column", "row"], "m")
    again = ("Tile", ["m", "t"], "tiled"), ("Reshape", ["tiled", "s"], "big")
    numbers = {"c": [-1, 2304, 1], "r": [-1, 1, 2304], "t": [1, 100, 1], "s": [-1, 48, 4800, 2304]}
    yield "onnx", "outer.onnx", model(*outer, *again, **numbers)
    products = [("MatMul", ["square", "square"], "m0")]
    products += [("MatMul", [f"m{i}", "square"], f"m{i + 1}") for i in range(500)]
    filled = ("ConstantOfShape", ["side"], "square"), *products, ("Reshape", ["m500", "s"], "big")
    yield "onnx", "products.onnx", model(*filled, side=[3072, 3072], s=[-1, 48, 48, 3072 // 48])
    values = [helper.make_tensor_value_info(name, kind, None) for name, kind in (("i", 7), ("c", 9), ("v", 1))]
    ends = [helper.make_tensor_value_info(name, kind, None) for name, kind in (("d", 9), ("u", 1))]
    steps = [helper.make_node("Identity", ["c"], ["d"]), helper.make_node("Add", ["v", "v"], ["u"])]
    body = helper.make_graph(steps, "body", values, ends)
    yield "onnx", "loop.onnx", model(("Loop", ["many", "on", "x"], "big"), body=body, many=10**12, on=True)
