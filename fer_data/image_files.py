"""Which files of a tree are images, by their names and content, and which are none of the user's."""

from fer_data.containers import Container
from fer_data.decoding import BadImage, is_image

NO_IMAGE = "is no image"
_IMAGE_NAMES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp"),
    *(".pgm", ".avif", ".heic", ".jp2"),
)
_LITTER = ("thumbs.db", "desktop.ini")


def is_litter(path: str) -> bool:
    """Whether operating systems leave such files: hidden ones, `__MACOSX`, thumbnails."""
    parts = path.replace("\\", "/").split("/")
    return any(part.startswith((".", "__MACOSX")) for part in parts) or parts[-1].lower() in _LITTER


def is_named_image(path: str) -> bool:
    """Whether a file is called an image, of a kind that is read here or another one."""
    return path.lower().endswith(_IMAGE_NAMES)


def no_image(path: str, container: Container) -> str:
    """Why the file at `path` may be left out: "" where it is an image, or is called one."""
    if is_named_image(path):
        return ""
    try:
        return "" if is_image(container.reader([path]).head(path)) else NO_IMAGE
    except BadImage as reason:
        return str(reason)
