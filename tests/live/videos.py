"""Videos of every kind for the tests of the live module, written by PyAV, whose times are the reference."""

import struct
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

EVEN = [40 * i for i in range(60)]
UNEVEN = np.cumsum([0, *np.random.default_rng(0).choice([16, 33, 50, 130, 300], 59)]).tolist()
"""Times of 60 frames in milliseconds: 25 a second, and as phones and screen recorders write them."""
KINDS = {
    "even.mp4": ("libx264", EVEN, "yuv420p", 1000),
    "uneven.mp4": ("libx264", UNEVEN, "yuv420p", 1000),
    "uneven.mov": ("mpeg4", UNEVEN, "yuv420p", 1000),
    "even.avi": ("mjpeg", EVEN, "yuvj420p", 25),
    "even.mpeg4.avi": ("mpeg4", EVEN, "yuv420p", 25),
    "uneven.webm": ("libvpx", UNEVEN, "yuv420p", 1000),
    "even.webm": ("libvpx-vp9", EVEN, "yuv420p", 1000),
    "uneven.mkv": ("libx264", UNEVEN, "yuv420p", 1000),
    "uneven.gif": ("gif", [round(time, -1) for time in UNEVEN], "rgb8", 100),
    "even.m2ts": ("libx264", EVEN, "yuv420p", 25),
}
"""Name, codec, times, pixel format, ticks per second of the containers that people have."""


def striped(number: int) -> np.ndarray:
    """A frame with its number, up to 63, as six stripes, each black or white: uint8 [120, 160, 3]."""
    stripes = [255 * (number >> bit & 1) for bit in range(6)]
    return np.repeat(np.array([*stripes, 128, 128], np.uint8), 20)[None, :, None].repeat(120, 0).repeat(3, 2)


def number_in(image: np.ndarray) -> int:
    """The number of the frame that `striped` drew."""
    return sum(int(image[:, 20 * bit + 5 : 20 * bit + 15].mean() > 128) << bit for bit in range(6))


def write_kind(folder: Path, kind: str, picture: Callable[[int], np.ndarray] = striped) -> Path:
    codec, times, pixels, ticks = KINDS[kind]
    return write(folder / kind, map(picture, range(len(times))), times, codec, pixels, ticks)


def write(
    path: Path,
    frames: Iterable[np.ndarray],
    times: Sequence[int],
    codec: str = "libx264",
    pixels: str = "yuv420p",
    ticks: int = 1000,
    **options: str,
) -> Path:
    """A video of BGR frames of one size, shown at `times` in milliseconds. Every tenth is a key frame."""
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=ticks, options={} if codec in ("gif", "mjpeg") else {"g": "10"})
        stream.pix_fmt = pixels
        tick = Fraction(1, ticks)
        stream.time_base = stream.codec_context.time_base = tick
        for image, time in zip(frames, times, strict=True):
            if not stream.codec_context.is_open:
                stream.height, stream.width = image.shape[:2]
            frame = av.VideoFrame.from_ndarray(image, format="bgr24").reformat(format=pixels)
            frame.pts, frame.time_base = round(time * ticks / 1000), tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def presentation_times(path: Path) -> list[float]:
    """The times of a video's frames in seconds since its first one, by PyAV."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        times = [float(frame.pts * stream.time_base) for frame in container.decode(stream)]
        return [time - float(stream.start_time * stream.time_base) for time in times]


def length(path: Path) -> float:
    """How many seconds a video plays."""
    with av.open(str(path)) as container:
        return container.duration / av.time_base


def turned(path: Path, degrees: int) -> Path:
    """A copy of an .mp4 or .mov whose rotation tag asks players to turn it clockwise by 0, 90, 180 or 270 degrees."""
    content = bytearray(path.read_bytes())
    header = content.index(b"tkhd") + 4
    matrix = header + 4 + (32 if content[header] == 1 else 20) + 16
    cosine, sine = {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    numbers = cosine << 16, sine << 16, 0, -sine << 16, cosine << 16, 0, 0, 0, 1 << 30
    struct.pack_into(">9i", content, matrix, *numbers)
    copy = path.with_name(f"turned-{degrees}-{path.name}")
    copy.write_bytes(content)
    return copy


def damaged(path: Path, numbers: Sequence[int]) -> Path:
    """A copy in which the data of these frames, in the order of decoding, are noise."""
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    content = bytearray(path.read_bytes())
    for number in numbers:
        start, size = packets[number]
        content[start : start + size] = np.random.default_rng(number).bytes(size)
    copy = path.with_name(f"damaged-{path.name}")
    copy.write_bytes(content)
    return copy
