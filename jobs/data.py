"""What `--data` stands for, in every job."""

from rich.console import Console

from fer_data.dataset import PreparedDataset
from fer_data.prepare import open_or_prepare


def open_data(data: str | None, console: Console) -> PreparedDataset:
    """The data set at `data`, prepared on first use; without one the built-in drawn faces, saying so.

    Raises UserError when there is none at `data`.
    """
    if data is not None:
        return open_or_prepare(data)
    console.print("no --data: taking the built-in drawn faces, not photographs")
    from fer_data.drawn_faces import prepared_drawn_faces

    return prepared_drawn_faces()
