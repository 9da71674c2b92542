"""What `onnx_model` relies on in ONNX Runtime."""

from pathlib import Path

import onnxruntime

from fer_models import onnx_model


def test_onnx_runtime_says_that_memory_is_short_in_the_words_that_are_looked_for():
    libraries = Path(onnxruntime.__file__).parent.glob("capi/*.so*")
    content = b"".join(library.read_bytes() for library in libraries)
    assert onnx_model._NO_MEMORY.encode() in content
    assert onnx_model._NO_ROOM.encode() in content
