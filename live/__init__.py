"""The chosen checkpoint on a webcam: OpenCV, NumPy and LiteRT; neither TensorFlow nor Ray.

python -m live from live import ExpressionClassifier
"""

from live.classifier import ExpressionClassifier, Face

__all__ = ["ExpressionClassifier", "Face"]
