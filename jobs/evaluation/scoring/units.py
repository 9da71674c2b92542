"""The unit of work: some images, read by one task, scored in one call and kept in one file."""

from typing import Protocol

import pyarrow as pa


class Unit(Protocol):
    """`rows` images. `file_name` is that of its results; `index` tells it from the others."""

    @property
    def index(self) -> int: ...

    @property
    def rows(self) -> int: ...

    @property
    def file_name(self) -> str: ...

    @property
    def counted_by(self) -> tuple[str, ...]:
        """The columns of predictions that `images_in` needs."""

    def images_in(self, predictions: pa.Table) -> int:
        """How many images `predictions` has, each as often as it was scored."""
