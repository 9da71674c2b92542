"""The seven expression classes, in the one order used everywhere: the codes of the FER-2013 CSV.

Folder copies of the data set, and models trained on them, count the classes alphabetically instead. Such an order is
translated by name where it enters (`class_index`, `permutation_from`) and nowhere else.
"""

from collections.abc import Sequence

CLASSES: tuple[str, ...] = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
NUM_CLASSES = len(CLASSES)
FOLDER_ORDER: tuple[str, ...] = tuple(sorted(CLASSES))

SYNONYMS: dict[str, str] = {
    "anger": "angry",
    "disgusted": "disgust",
    "afraid": "fear",
    "fearful": "fear",
    "scared": "fear",
    "happiness": "happy",
    "joy": "happy",
    "sadness": "sad",
    "surprised": "surprise",
    "suprise": "surprise",
    "calm": "neutral",
    "neutrality": "neutral",
}


_INDEX = {name: i for i, name in enumerate(CLASSES)}
_INDEX.update({synonym: _INDEX[name] for synonym, name in SYNONYMS.items()})


def class_index(name: str) -> int:
    """Index (0 to 6) of the class called `name`, in any case, or by a usual synonym.

    Raises KeyError when the name is none of them.
    """
    return _INDEX[name.strip().lower()]


def permutation_from(order: Sequence[str]) -> list[int]:
    """Where each of our classes stands in a foreign `order`: `ours = theirs[..., permutation_from(order)]`.

    Raises KeyError for an unknown name and ValueError when a class is missing or named twice.
    """
    indices = [class_index(name) for name in order]
    if sorted(indices) != list(range(NUM_CLASSES)):
        raise ValueError(f"the class order must name each of {', '.join(CLASSES)} once, not {', '.join(order)}")
    return [indices.index(i) for i in range(NUM_CLASSES)]
