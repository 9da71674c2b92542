"""A figure as the bytes of a PNG."""

import io

from matplotlib.figure import Figure


def png(figure: Figure) -> bytes:
    """Equal figures give equal bytes: the file does not name the version of Matplotlib."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=160, metadata={"Software": None})
    return file.getvalue()
