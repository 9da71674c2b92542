"""How every job opens its `--data`."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from fer_data.dataset import PreparedDataset
from fer_data.prepare import open_or_prepare

_SECONDS_BETWEEN_LINES = 30


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
    """A bar for the search for near copies, which appears when its progress is first heard of.

    Where nobody watches, lines now and then.
    """
    columns = (TextColumn("looking for near copies"), BarColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=console, transient=True)
    task = bar.add_task("", total=1.0)
    said: float | None = None

    def hear(share: float) -> None:
        nonlocal said
        now = time.monotonic()
        if said is None:
            said = now
            if console.is_terminal:
                bar.start()
            else:
                console.out("looking for near copies, once for this data set; it may take minutes")
        elif not console.is_terminal and now - said >= _SECONDS_BETWEEN_LINES:
            said = now
            console.out(f"looking for near copies: {share:.0%}")
        bar.update(task, completed=share)

    try:
        yield hear
    finally:
        if bar.live.is_started:  # Else a line feed would be written.
            bar.stop()
