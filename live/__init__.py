"""Run a checkpoint on a webcam, with OpenCV, NumPy and LiteRT but without TensorFlow and Ray.

`python -m live` is the command; `ExpressionClassifier` does the same for other programs.
"""

from live.classifier import ExpressionClassifier, Face

__all__ = ["ExpressionClassifier", "Face"]
