"""Videos as people have them: the times and the orientation that the file states, past damage, whole or sampled."""

import numpy as np
import pytest

from live.recording import Recording
from live.sampling import Every
from live.sources import open_source
from tests.live.test_sources import frames_of
from tests.live.videos import KINDS, damaged, length, number_in, presentation_times, striped, turned, write, write_kind


@pytest.mark.parametrize("kind", KINDS)
def test_times_are_the_presentation_times_of_the_file(tmp_path, kind):
    path = write_kind(tmp_path, kind)
    warnings: list[str] = []
    frames = frames_of(path, warnings)
    np.testing.assert_allclose([frame.seconds for frame in frames], presentation_times(path), atol=1e-3)
    assert [number_in(frame.image) for frame in frames] == list(range(60))
    assert [frame.number for frame in frames] == list(range(60))
    assert warnings == [], "nothing is missing"
    gaps = np.diff([frame.seconds for frame in frames])
    np.testing.assert_allclose([frame.lasts for frame in frames[:-1]], gaps, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_a_recording_plays_for_as_long_as_its_source_and_shows_every_frame(tmp_path, kind):
    path = write_kind(tmp_path, kind)
    source = open_source(str(path), print)
    recording = Recording(tmp_path / "saved.mp4", source, overwrite=False)
    while (frame := source.read()) is not None:
        recording.write(frame.image, frame)
    recording.close()
    saved = frames_of(tmp_path / "saved.mp4")
    # OpenCV gives the length of a GIF in frames of its mean rate.
    assert length(tmp_path / "saved.mp4") == pytest.approx(length(path), abs=0.1 if kind == "uneven.gif" else 0.035)
    assert len({number_in(frame.image) for frame in saved}) >= 58
    # Each frame is on the screen at its own time.
    shown = {number_in(frame.image): frame.seconds for frame in reversed(saved)}
    for number, time in enumerate(presentation_times(path)):
        assert shown.get(number, time) == pytest.approx(time, abs=0.05)


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_a_rotation_tag_is_obeyed(tmp_path, degrees):
    image = np.zeros((120, 160, 3), np.uint8)
    image[:60, :80] = 255
    path = turned(write(tmp_path / "a.mov", [image] * 3, [0, 40, 80]), degrees)
    frames = frames_of(path)
    np.testing.assert_allclose([frame.seconds for frame in frames], [0, 0.04, 0.08], atol=1e-3)
    upright = np.rot90(image, -degrees // 90)
    assert frames[0].image.shape == upright.shape
    assert np.abs(frames[0].image.astype(int) - upright).mean() < 8


@pytest.mark.parametrize("kind", ["even.mp4", "even.avi", "uneven.mov", "even.mpeg4.avi"])
@pytest.mark.parametrize("bad", [[15, 16, 17], [0], [5, 25, 45]], ids=str)
def test_frames_after_damage_are_read_and_the_lost_ones_counted(tmp_path, kind, bad):
    path = write_kind(tmp_path, kind)
    warnings: list[str] = []
    frames = frames_of(damaged(path, bad), warnings)
    # Decoders of H.264 also drop frames that build on a damaged one.
    assert 60 - len(bad) >= len(frames) >= (50 if kind == "even.mp4" else 60 - len(bad))
    (warning,) = warnings
    assert f"damaged-{kind}: {60 - len(frames)} of 60 frames are damaged and left out" in warning
    times = presentation_times(path)
    assert all(min(abs(frame.seconds - time) for time in times) < 1e-3 for frame in frames)
    assert frames[-1].seconds == pytest.approx(times[-1], abs=1e-3)


@pytest.mark.parametrize("kind", ["uneven.webm", "uneven.mkv"])
def test_the_decoder_may_drop_damaged_frames_in_silence_and_the_others_keep_their_times(tmp_path, kind):
    path = write_kind(tmp_path, kind)
    bad = damaged(path, [15, 16, 17])
    frames = frames_of(bad)
    assert len(frames) <= 57
    np.testing.assert_allclose([frame.seconds for frame in frames], presentation_times(bad), atol=1e-3)
    assert frames[-1].seconds == pytest.approx(presentation_times(path)[-1], abs=1e-3)


@pytest.mark.parametrize("kind", ["uneven.mp4", "uneven.webm", "even.avi"])
def test_a_sample_has_every_nth_frame_or_the_first_in_each_span_of_time(tmp_path, kind):
    path = write_kind(tmp_path, kind)
    times = np.array(presentation_times(path))
    frames = frames_of(path, every=Every.parse("7"))
    assert [frame.number for frame in frames] == list(range(0, 60, 7))
    np.testing.assert_allclose([frame.seconds for frame in frames], times[::7], atol=1e-3)
    frames = frames_of(path, every=Every.parse("0.5s"))
    first = [int(np.argmax(times >= start - 1e-6)) for start in np.arange(0, times[-1], 0.5)]
    assert [frame.number for frame in frames] == sorted(set(first))


@pytest.mark.parametrize("text", ["0", "-1", "0s", "1.5", "5 s", "", "1e3s", "s", "99999s", "1m"])
def test_samples_that_make_no_sense_are_refused(text):
    with pytest.raises(ValueError, match="a number of frames"):
        Every.parse(text)


def test_a_stream_of_frames_without_times_has_its_stated_rate(tmp_path):
    path = write(tmp_path / "raw.h264", map(striped, range(30)), range(0, 1200, 40), ticks=25)
    np.testing.assert_allclose([frame.seconds for frame in frames_of(path)], np.arange(30) / 25)
