"""The real faces of FER-2013's public test, put into larger frames, found again and classified."""

import numpy as np
import pytest

from fer_data.batches import ordered_batches
from fer_data.prepare import open_or_prepare
from fer_data.splits import split
from live import ExpressionClassifier
from live.detection import HaarDetector
from live.images import face_crops
from tests.live.scenes import BACKGROUND, paste

pytestmark = [pytest.mark.slow, pytest.mark.real_data]
FACES = 1200


def test_found_and_classified_faces_are_within_three_points_of_the_original_crops(fer2013_zip, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    dataset = open_or_prepare(fer2013_zip)
    batches = list(ordered_batches(dataset, split(dataset, "public_test"), batch_size=1024))
    chosen = np.random.default_rng(0).permutation(sum(len(labels) for _, labels in batches))[:FACES]
    pixels, labels = (np.concatenate(part)[chosen] for part in zip(*batches, strict=True))
    classifier, detector = ExpressionClassifier(), HaarDetector()
    places = np.random.default_rng(1)
    found, crops = [], []
    for number, face in enumerate(pixels[:, :, :, 0]):
        side = int(places.integers(80, 220))
        x, y = places.integers(side // 2, 640 - side // 2), places.integers(side // 2, 480 - side // 2)
        frame = BACKGROUND.copy()
        paste(frame, face, x, y, side)
        boxes = detector(frame)
        off = np.abs(boxes[:, :2] + boxes[:, 2:] / 2 - (x, y)).max(axis=1)
        if len(boxes) and off.min() < 0.3 * side:
            found.append(number)
            crops.append(face_crops(frame, boxes[off.argmin()][None])[0])
    # Its images were cut closely around the face, which leaves the cascade little to go by.
    assert len(found) > 0.6 * FACES
    right = [
        (classifier.predict(faces).argmax(axis=1) == labels[found]).mean() for faces in (pixels[found], np.stack(crops))
    ]
    print(f"{len(found)} of {FACES} found; accuracy of original crops {right[0]:.4f}, of found ones {right[1]:.4f}")
    assert right[1] >= right[0] - 0.03
