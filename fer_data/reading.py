"""How a source is read: what its user says that its files do not."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from fer_data.class_maps import OUR_NAMES, ClassMap
from fer_data.faces.photographs import LargestFace
from fer_data.images import grey_face
from fer_data.votes import Votes


@dataclass(frozen=True)
class Reading:
    """`resize` is as `images.grey_face` has it, and `classes` says what the source calls the classes.

    With `divide`, the source does not say which images train and which test, and all of them count as training until
    they are divided. `group_by` is a pattern that says, of the name or path of an image, whose picture it is. `votes`
    take the place of the labels of a CSV. With `faces`, images are photographs of which a face is a part.
    """

    resize: bool = False
    classes: ClassMap = OUR_NAMES
    divide: bool = False
    group_by: str | None = None
    votes: Votes | None = None
    faces: LargestFace | None = None

    @property
    def face(self) -> Callable[[bytes], np.ndarray]:
        """From an image file to its face, uint8 [48, 48]; raises BadImage where the image is rejected. It pickles."""
        return self.faces or partial(grey_face, resize=self.resize)

    def group(self, path: str) -> str | None:
        """Whose picture the image at `path` is, by the file's name or else its path: "" if nobody asks.

        None where `group_by` is in neither.
        """
        if self.group_by is None:
            return ""
        found = re.search(self.group_by, path.rpartition("/")[2]) or re.search(self.group_by, path)
        return found and next((group for group in found.groups() if group is not None), found[0])


AS_IT_IS = Reading()
