"""What the first bytes of an image file say: its kind, and its size, before anything is decoded."""

import struct

_TIFF_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)
_JPEG_END = b"\xff\xd9"
_JPEG_SCAN = b"\xff\xda"
_JPEG_MISPLACED = (0x00, 0xD8, 0xD9, 0xDA)
"""A stuffed byte, the start and the end of an image, and a scan: none may come before the start of a frame."""
_TIFF_SIZES = (256, 257, 322, 323)
"""Tags of the width and height of an image and of its tiles."""
_TIFF_NUMBERS = {1: "B", 3: "H", 4: "I"}


def kind_of(head: bytes) -> str | None:
    """JPEG, PNG, TIFF, BMP, WebP or GIF, by the first 32 bytes of a file; None for anything else."""
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head[:4] in _TIFF_ORDERS:
        return "TIFF"
    if head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return "BMP"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WebP"
    return "GIF" if head.startswith((b"GIF87a", b"GIF89a")) else None


def declared_size(data: bytes) -> tuple[int, int]:
    """Width and height as an image's header has them.

    Raises ValueError, with the reason, when the header is damaged or the image is no whole one.
    """
    kind = kind_of(data)
    try:
        return _SIZES[str(kind)](data)
    except (struct.error, IndexError, KeyError) as error:
        raise ValueError(f"is a damaged {kind} image") from error


def _jpeg(data: bytes) -> tuple[int, int]:
    # The decoder fills in what a truncated JPEG lacks; such a face must not pass for a whole one.
    if _JPEG_END not in data[data.rfind(_JPEG_SCAN) :]:
        raise ValueError("is a truncated JPEG image")
    position = 2
    while position + 9 <= len(data) and data[position] == 0xFF:
        marker, length = data[position + 1], int.from_bytes(data[position + 2 : position + 4], "big")
        if marker == 0xFF:  # padding before a marker
            position += 1
        elif marker == 0x01 or 0xD0 <= marker <= 0xD7:  # TEM and RST have no parameters.
            position += 2
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # a start of frame
            height, width = struct.unpack_from(">HH", data, position + 5)
            return width, height
        elif marker in _JPEG_MISPLACED or length < 2:
            break
        else:
            position += 2 + length
    raise ValueError("is a damaged JPEG image")


def _png(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _gif(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from("<HH", data, 6)
    return width, height


def _bmp(data: bytes) -> tuple[int, int]:
    old = data[14] == 12
    width, height = struct.unpack_from("<HH" if old else "<ii", data, 18)
    return abs(width), abs(height)  # A negative height counts from the top.


def _webp(data: bytes) -> tuple[int, int]:
    """The three layouts of https://developers.google.com/speed/webp/docs/riff_container."""
    layout = data[12:16]
    if layout == b"VP8X":
        width, height = (1 + int.from_bytes(data[at : at + 3], "little") for at in (24, 27))
    elif layout == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    elif layout == b"VP8 ":
        width, height = (size & 0x3FFF for size in struct.unpack_from("<HH", data, 26))
    else:
        raise ValueError("is a damaged WebP image")
    return width, height


def _tiff(data: bytes) -> tuple[int, int]:
    """The size of the first page, or of its tiles where they are larger: the decoder fills whole tiles."""
    order = _TIFF_ORDERS[data[:4]]
    (start,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, start)
    found: dict[int, int] = {}
    for at in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind, _ = struct.unpack_from(f"{order}HHI", data, at)
        if tag in _TIFF_SIZES:  # Of a tag that occurs twice, the larger one counts.
            (value,) = struct.unpack_from(f"{order}{_TIFF_NUMBERS[kind]}", data, at + 8)
            found[tag] = max(value, found.get(tag, 0))
    width, height = found[256], found[257]
    return max(width, found.get(322, 0)), max(height, found.get(323, 0))


_SIZES = {"JPEG": _jpeg, "PNG": _png, "TIFF": _tiff, "BMP": _bmp, "WebP": _webp, "GIF": _gif}
