"""The terminal of every job: it prints text as text, whoever wrote it."""

from typing import Any

from rich.console import Console
from rich.text import Text

from fer_data.text import plain


class PlainConsole(Console):
    """Rich's console without markup. What is printed, in tables too, goes through `text.plain`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, **options)

    def out(self, *objects: Any, **options: Any) -> None:
        super().out(*(plain(str(each)) for each in objects), **options)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(plain(text), **options)
