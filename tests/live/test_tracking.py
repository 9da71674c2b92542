"""Who is who: people keep their numbers while they move, cross, swap and hide, and nobody gets another's."""

import numpy as np
import pytest

from fer_data.faces.crops import reduced_grey
from live import tracking
from live.tracking import FLOW_LONG_SIDE, Tracker
from tests.live.scenes import box, scene


class Camera:
    """Shows scenes to a tracker; detects, with the shake of a real detector, every fifth frame or when asked to."""

    def __init__(self) -> None:
        self.tracker, self.frame, self.random = Tracker(), 0, np.random.default_rng(0)
        self.detections = 0

    def show(self, places: dict, detectable: set | None = None) -> dict[int, int]:
        """The number that each person has in this frame, by where the tracker says that faces are."""
        image = scene(places)
        seconds = self.frame / 30
        sure = self.tracker.follow(*reduced_grey(image, FLOW_LONG_SIDE), seconds)
        if self.frame % 5 == 0 or not sure or not self.tracker.visible:
            self.detections += 1
            found = [box(place) for person, place in places.items() if detectable is None or person in detectable]
            shaken = [b + self.random.normal(0, 0.02 * b[2], 4) for b in found]
            self.tracker.detected(np.array(shaken, np.float32).reshape(-1, 4))
        self.frame += 1
        numbers = {}
        for person, place in places.items():
            for track in self.tracker.visible:
                middle, side = track.box[:2] + track.box[2:] / 2, place[2]
                if np.abs(middle - place[:2]).max() < 0.3 * side and 0.6 < track.box[2] / side < 1.6:
                    numbers[person] = track.id
        return numbers


def test_a_face_is_followed_between_detections():
    camera, numbers = Camera(), []
    for i in range(60):
        numbers.append(camera.show({0: (200 + 4 * i, 240 + 20 * np.sin(i / 6), 120 + i // 2)}))
    assert all(seen == {0: 1} for seen in numbers)
    assert camera.detections <= 14


@pytest.mark.parametrize("place", [(330, 250, 150), (90, 60, 110), (590, 430, 90)])
def test_flow_in_a_part_of_the_frame_is_flow_in_the_whole(place, monkeypatch):
    x, y, side = place
    grey = [reduced_grey(scene({0: at}), FLOW_LONG_SIDE)[0] for at in (place, (x + 6, y - 4, side + 4))]
    boxes = box(place)[None] / 2
    (near,) = tracking._flow(*grey, boxes)
    monkeypatch.setattr(tracking, "_REACH", 1000)
    (far,) = tracking._flow(*grey, boxes)
    assert near is not None
    np.testing.assert_allclose(near, far, atol=0.02)
    np.testing.assert_allclose(near, box((x + 6, y - 4, side + 4)) / 2, atol=1.5)


def test_boxes_far_outside_a_frame_are_not_followed():
    grey = reduced_grey(scene({}), FLOW_LONG_SIDE)[0]
    for left, top in ((-5000, 100), (5000, 100), (100, 4000), (-900, -900)):
        assert tracking._flow(grey, grey, np.array([[left, top, 50, 50]])) == [None]


def test_people_who_cross_keep_their_numbers():
    camera = Camera()
    first = camera.show({0: (120, 240, 120), 1: (520, 240, 120)})
    assert sorted(first.values()) == [1, 2]
    for i in range(1, 81):
        places = {0: (120 + 5 * i, 240, 120), 1: (520 - 5 * i, 240, 120)}
        hidden = abs(places[0][0] - places[1][0]) < 70
        in_sight = {1} if hidden else {0, 1}
        last = camera.show(places, in_sight)
        assert all(number == first[person] for person, number in last.items() if person in in_sight), f"frame {i}"
    assert last == first


def test_people_who_swap_places_from_one_frame_to_the_next_keep_their_numbers():
    camera = Camera()
    for _ in range(12):
        before = camera.show({2: (160, 240, 130), 3: (460, 240, 130)})
    for _ in range(12):
        after = camera.show({2: (460, 240, 130), 3: (160, 240, 130)})
        assert after == before


@pytest.mark.parametrize("frames", [10, 30, 120])
def test_a_face_that_is_hidden_for_a_moment_comes_back_as_itself(frames):
    camera = Camera()
    for _ in range(12):
        before = camera.show({4: (320, 240, 130)})
    for _ in range(frames):
        assert camera.show({}) == {}
    assert camera.show({4: (340, 250, 130)}) == before


def test_another_face_in_the_same_place_is_another_person():
    camera = Camera()
    for _ in range(12):
        before = camera.show({0: (320, 240, 130)})
    for _ in range(12):
        after = camera.show({5: (320, 240, 130)})
    assert after[5] != before[0]


def test_a_face_that_has_left_is_gone_and_forgotten():
    camera = Camera()
    for _ in range(12):
        camera.show({0: (320, 240, 130)})
    for _ in range(180):
        assert camera.show({}) == {}
    assert camera.tracker.ids == set()


def test_a_face_in_frames_far_apart_keeps_its_number():
    tracker = Tracker()
    for i in range(5):
        place = (150 + 70 * i, 240, 120)
        tracker.follow(*reduced_grey(scene({2: place}), FLOW_LONG_SIDE), 20.0 * i)
        tracker.detected(box(place)[None])
        assert [track.id for track in tracker.visible] == [1]


def test_detections_that_miss_a_face_for_a_moment_do_not_lose_it():
    camera = Camera()
    for i in range(30):
        seen = camera.show({0: (320 + i, 240, 130)}, set() if 10 <= i <= 15 else None)
        assert seen == {0: 1}


def test_a_change_of_the_frame_s_size_is_no_crash():
    tracker = Tracker()
    for size in ((480, 640), (720, 1280), (1, 1), (480, 640)):
        frame = np.full((*size, 3), 90, np.uint8)
        tracker.follow(*reduced_grey(frame, FLOW_LONG_SIDE), 0.0)
        tracker.detected(np.array([[0, 0, size[1], size[0]]], np.float32))
        assert tracker.visible
