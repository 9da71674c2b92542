"""How every job opens its `--data`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from fer_data.dataset import PreparedDataset
from fer_data.prepare import open_or_prepare


def open_data(data: str | None, console: Console, *, resize: bool = False) -> PreparedDataset:
    """The data set at `data`, prepared on first use, or the built-in drawn faces, with a message, when `data` is None.

    `resize` is that of `fer_data.prepare.prepare`. Raises UserError when there is no data set at `data`.
    """
    if data is not None:
        with search_progress(console) as progress:
            return open_or_prepare(data, resize=resize, progress=progress)
    console.out("no --data: using the built-in drawn faces, not photographs")
    from fer_data.drawn_faces import prepared_drawn_faces

    return prepared_drawn_faces()


@contextmanager
def search_progress(console: Console) -> Iterator[Callable[[float], None]]:
    """A bar for the search for near copies, which appears when its progress is first heard of; a line in a file."""
    columns = (TextColumn("looking for near copies"), BarColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=console, transient=True)
    task = bar.add_task("", total=1.0)
    began = False

    def hear(share: float) -> None:
        nonlocal began
        if not began:
            began = True
            if console.is_terminal:
                bar.start()
            else:
                console.out("looking for near copies, once for this data set")
        bar.update(task, completed=share)

    try:
        yield hear
    finally:
        if bar.live.is_started:  # Else a line feed would be written.
            bar.stop()
