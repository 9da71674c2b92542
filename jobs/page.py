"""Pages for people: each is a file that needs no network, made from a template that fills `page.html.j2`."""

import base64
from pathlib import Path

import jinja2


def environment(folder: Path) -> jinja2.Environment:
    """Where the templates in `folder` are loaded. Whatever is put into a page is escaped, and must be defined."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, Path(__file__).parent]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )


def picture(png: bytes) -> str:
    """A PNG as the `src` of an image."""
    return "data:image/png;base64," + base64.b64encode(png).decode()
