"""From frames to faces: every person keeps a history of their own, and what is drawn is what was analysed."""

import time

import numpy as np
import pytest

from fer_data.emotions import CLASSES
from live import ExpressionClassifier
from live.overlay import COLORS, draw
from live.pipeline import Analysis, Pipeline, TrackedFace
from tests.live.scenes import BACKGROUND, PEOPLE, box, photograph, scene


@pytest.fixture(scope="module")
def classifier() -> ExpressionClassifier:
    return ExpressionClassifier()


class Seeing:
    """A detector that knows where everybody is."""

    def __init__(self) -> None:
        self.boxes = np.empty((0, 4), np.float32)

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        return self.boxes


def play(pipeline: Pipeline, detector: Seeing, places: dict, seconds: float) -> Analysis:
    detector.boxes = np.array([box(place) for place in places.values()], np.float32).reshape(-1, 4)
    return pipeline.analyze(scene(places), seconds)


def test_without_smoothing_a_face_gets_what_the_classifier_says_of_its_crop(classifier):
    detector = Seeing()
    pipeline = Pipeline(classifier, detector, smoothing=0)
    analysis = play(pipeline, detector, {3: (300, 200, 48)}, 0.0)
    np.testing.assert_allclose(analysis.faces[0].probabilities, classifier.predict(PEOPLE[3:4])[0], atol=0.02)
    assert analysis.faces[0].expression == CLASSES[int(analysis.faces[0].probabilities.argmax())]
    assert set(analysis.milliseconds) == {"track", "detect", "classify"}


def test_a_swap_of_two_people_does_not_swap_their_histories(classifier):
    detector = Seeing()
    pipeline = Pipeline(classifier, detector, smoothing=2.0)
    left, right = (160, 240, 120), (460, 240, 120)
    for frame in range(30):
        before = play(pipeline, detector, {2: left, 3: right}, frame / 30)
    known = {face.id: face.probabilities for face in before.faces}
    after = play(pipeline, detector, {2: right, 3: left}, 1.0)
    assert {face.id: face.box[0] > 320 for face in after.faces} == {face.id: face.box[0] < 320 for face in before.faces}
    for face in after.faces:
        # One frame in a memory of two seconds changes little, unless it were another's memory.
        np.testing.assert_allclose(face.probabilities, known[face.id], atol=0.05)


def test_smoothing_forgets_with_time(classifier):
    detector = Seeing()
    pipeline = Pipeline(classifier, detector, smoothing=0.5)
    play(pipeline, detector, {2: (300, 240, 120)}, 0.0)
    later = play(pipeline, detector, {2: (300, 240, 120)}, 0.1)
    assert len(later.faces) == 1
    fresh = Pipeline(classifier, detector, smoothing=0)
    now = play(fresh, detector, {2: (300, 240, 120)}, 0.0).faces[0].probabilities
    long_after = play(pipeline, detector, {2: (300, 240, 120)}, 1.5).faces[0].probabilities
    np.testing.assert_allclose(long_after, now, atol=0.06)


class Slow:
    """A detector that sees one face where it is in the frame, and takes its time."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.looks = seconds, 0

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        self.looks += 1
        time.sleep(self.seconds)
        inside = np.abs(frame.astype(int) - BACKGROUND).max(axis=2) > 40
        columns, rows = (np.flatnonzero(inside.any(axis=axis)) for axis in (0, 1))
        x, y, side = columns[0], rows[0], columns[-1] - columns[0] + 1
        return np.array([[x, y, side, side]], np.float32)


def moving(number: int) -> dict:
    return {3: (200 + 2 * number, 240, 120)}


def test_a_slow_detector_never_holds_up_a_live_picture(classifier):
    detector = Slow(0.5)
    pipeline = Pipeline(classifier, detector, live=True)
    found = []
    for number in range(40):
        frame = scene(moving(number))
        began = time.perf_counter()
        faces = pipeline.analyze(frame, number / 30).faces
        assert time.perf_counter() - began < 0.4
        found.append(faces)
        time.sleep(1 / 30)
    assert found[0] == ()
    assert detector.looks <= 6
    # What was found half a second ago counts where it is now.
    first = next(number for number, faces in enumerate(found) if faces)
    for number in range(first, 40):
        (face,) = found[number]
        assert abs(face.box[0] + face.box[2] / 2 - moving(number)[3][0]) < 12, f"frame {number}"


def test_the_faces_of_a_file_do_not_depend_on_how_long_the_detector_takes(classifier):
    results = []
    for seconds in (0.0, 0.05):
        pipeline = Pipeline(classifier, Slow(seconds))
        analyses = [pipeline.analyze(scene(moving(number)), number / 30) for number in range(24)]
        results.append([[(face.id, face.box, *face.probabilities) for face in one.faces] for one in analyses])
    assert results[0] == results[1]
    assert all(len(faces) == 1 for faces in results[0]), "from the first frame on"


def test_what_was_found_before_a_cut_does_not_count_after_it(classifier):
    detector = Slow(0)
    pipeline = Pipeline(classifier, detector)
    for number in range(6):  # The detector looks at frame 5, and that would count at frame 10.
        pipeline.analyze(scene({3: (200, 240, 120)}), number / 30)
    for number in range(6, 12):
        (face,) = pipeline.analyze(scene({5: (450, 150, 100)}), number / 30).faces
        assert abs(face.box[0] + face.box[2] / 2 - 450) < 12


def test_twenty_faces_are_classified_at_once(classifier):
    places = {person: (60 + 85 * (person % 7), 60 + 130 * (person // 7), 70) for person in range(20)}
    frame = np.full((480, 640, 3), 90, np.uint8)
    from tests.live.scenes import paste

    for person, (x, y, side) in places.items():
        paste(frame, PEOPLE[person % 7], x, y, side)
    detector = Seeing()
    detector.boxes = np.array([box(place) for place in places.values()])
    analysis = Pipeline(classifier, detector).analyze(frame, 0.0)
    assert len(analysis.faces) == 20
    assert len({face.id for face in analysis.faces}) == 20
    assert draw(analysis).shape == frame.shape


@pytest.mark.parametrize("size", [(1, 1), (30, 30), (480, 640), (200, 1500), (4320, 7680)])
@pytest.mark.parametrize("level", [0, 255])
def test_frames_of_any_size_and_light_can_be_analysed_and_drawn_on(classifier, size, level):
    from fer_data.faces.haar import HaarDetector

    frame = np.full((*size, 3), level, np.uint8)
    analysis = Pipeline(classifier, HaarDetector()).analyze(frame, 0.0)
    assert analysis.faces == ()
    drawn = draw(analysis, status="status")
    assert drawn.shape == frame.shape
    assert (frame == level).all(), "the frame that was analysed is left as it was"
    if min(size) >= 64:
        assert (drawn != frame).any(), "it says that no face is there"


def test_a_mirror_turns_the_picture_and_not_the_words():
    frame = photograph()
    face = TrackedFace(1, (20, 100, 60, 60), np.eye(7, dtype=np.float32)[3])
    analysis = Analysis(frame, 0.0, (face,), {})
    plain, mirrored = (draw(analysis, mirror=mirror, bars=False, legend="") for mirror in (False, True))
    color = COLORS["happy"]
    assert (plain[130, 20] == color).all()
    assert (mirrored[130, frame.shape[1] - 20] == color).all()
    assert not (mirrored[:, ::-1] == plain).all()
    without_faces = draw(Analysis(frame, 0.0, (), {}), mirror=True, legend="")
    np.testing.assert_array_equal(without_faces[150:250], frame[150:250, ::-1])
