"""Run a checkpoint on a webcam, with OpenCV, NumPy and LiteRT but without TensorFlow and Ray.

python -m live
from live import ExpressionClassifier
"""

from live.classifier import ExpressionClassifier, Face

__all__ = ["ExpressionClassifier", "Face"]
