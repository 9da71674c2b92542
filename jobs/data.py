"""How every job opens its `--data`."""

from rich.console import Console

from fer_data.dataset import PreparedDataset
from fer_data.prepare import open_or_prepare


def open_data(data: str | None, console: Console) -> PreparedDataset:
    """The data set at `data`, prepared on first use, or the built-in drawn faces, with a message, when `data` is None.

    Raises UserError when there is no data set at `data`.
    """
    if data is not None:
        return open_or_prepare(data)
    console.out("no --data: using the built-in drawn faces, not photographs")
    from fer_data.drawn_faces import prepared_drawn_faces

    return prepared_drawn_faces()
