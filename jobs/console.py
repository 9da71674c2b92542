"""The terminal of every job: it prints text as text, whoever wrote it."""

from typing import Any

from rich.console import Console
from rich.text import Text

from fer_data.commands import is_stopping
from fer_data.text import plain


class PlainConsole(Console):
    """Rich's console without markup. What is printed, in tables too, goes through `text.plain`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, **options)

    def on_broken_pipe(self) -> None:
        """Once the command is stopped, be quiet: whoever reads has got the same signal, and results are to be saved."""
        if not is_stopping():
            super().on_broken_pipe()
        self.quiet = True

    def out(self, *objects: Any, sep: str = " ", **options: Any) -> None:
        # Line by line: Rich joins them first, and `render_str` would escape a newline in `sep`.
        for line in sep.join(plain(str(each)) for each in objects).split("\n"):
            super().out(line, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(plain(text), **options)
