"""What other data sets call the classes: by number, by name, or by a code in the names of their files.

The numbers are those of the data sets' own publications:

    affectnet   Mollahosseini, Hasani, Mahoor: AffectNet, IEEE Trans. Affective Computing 10 (2019), and its readme
    raf-db      Li, Deng, Du: Reliable Crowdsourcing, CVPR 2017, and the file list_patition_label.txt's readme
    ck+         Lucey et al.: The Extended Cohn-Kanade Dataset, CVPR Workshops 2010, and its readme
    jaffe       Lyons et al.: Coding Facial Expressions with Gabor Wavelets, FG 1998, and its README_FIRST.txt
    fer+        Barsoum et al.: Training Deep Networks with Crowd-Sourced Label Distribution, ICMI 2016: the columns of
                fer2013new.csv, from 0
    fer2013     Goodfellow et al.: Challenges in Representation Learning, 2013: our own order
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fer_data.emotions import CLASSES, class_index
from fer_data.errors import UserError
from fer_data.storage import exists, printable, read_file, redacted

IGNORE = "ignore"
MAX_MAP_BYTES = 2**20


@dataclass(frozen=True)
class ClassMap:
    """Which of the seven classes a foreign name or number stands for.

    `names` leads from a name or number to one of our classes or to IGNORE; other names are our own and their synonyms.
    `ignored` has more names that are left out. `in_file_name` is a pattern whose first group, in the name of an image's
    file, says the class in place of its folder.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    ignored: frozenset[str] = frozenset()
    in_file_name: str | None = None

    def label(self, name: str) -> int | None:
        """The label that `name` stands for, 0 to 6, or None where it is ignored.

        Case, spaces around and leading zeros make no difference. Raises KeyError for an unknown name.
        """
        key = _key(name)
        meant = self.names.get(key, key)
        if key in self.ignored or meant in self.ignored or meant == IGNORE:
            return None
        index = class_index(meant)
        return None if CLASSES[index] in self.ignored else index

    def name_of(self, folder: str, file_name: str) -> str:
        """What the class of an image is called, by the name of its file or else of its folder."""
        found = re.search(self.in_file_name, file_name) if self.in_file_name else None
        return found[1] if found else folder


OUR_NAMES = ClassMap()


def _key(name: str) -> str:
    name = name.strip().lower()
    return str(int(name)) if re.fullmatch("[0-9]{1,9}", name) else name


def _numbered(first: int, names: str) -> dict[str, str]:
    """`names` by number from `first`, and those that are none of the seven by name too."""
    found = {}
    for number, name in enumerate(names.split(), first):
        try:
            found[str(number)] = CLASSES[class_index(name)]
        except KeyError:
            found[str(number)] = found[name] = IGNORE
    return found


_JAFFE = {"an": "angry", "di": "disgust", "fe": "fear", "ha": "happy", "ne": "neutral", "sa": "sad", "su": "surprise"}
PUBLISHED: Mapping[str, ClassMap] = {
    "affectnet": ClassMap(
        _numbered(0, "neutral happy sad surprise fear disgust anger contempt none uncertain no-face")
    ),
    "raf-db": ClassMap(_numbered(1, "surprise fear disgust happiness sadness anger neutral")),
    "ck+": ClassMap(_numbered(0, "neutral anger contempt disgust fear happy sadness surprise")),
    # KA.AN1.39.tiff: the person, the expression and which of three pictures of it, a number.
    "jaffe": ClassMap(_JAFFE, in_file_name=r"(?i)^[a-z]{2}[.-](an|di|fe|ha|ne|sa|su)\d+[.-]"),
    "fer+": ClassMap(_numbered(0, "neutral happiness surprise sadness anger disgust fear contempt unknown nf")),
    "fer2013": ClassMap(_numbered(0, " ".join(CLASSES))),
}


def class_map(name: str | None = None, ignored: Sequence[str] = ()) -> ClassMap:
    """The map of the data set `name`, or in the TOML file `name`, or that of our own names; without the `ignored` ones.

    A file has lines such as `7 = "ignore"` or `joy = "happy"`. Raises UserError when there is no such map, or the file
    names another class than the seven.
    """
    chosen = OUR_NAMES
    if name is not None:
        chosen = PUBLISHED.get(name.lower()) or ClassMap(_from_file(name))
    keys = {_key(each) for each in ignored}
    for key in list(keys):
        try:
            keys.add(CLASSES[class_index(key)])
        except KeyError:
            continue
    return ClassMap(chosen.names, frozenset(keys), chosen.in_file_name)


def _from_file(uri: str) -> dict[str, str]:
    where = f"--class-map {redacted(uri)}"
    if not exists(uri):
        raise UserError(f"{where}: there is no such map: give {', '.join(PUBLISHED)}, or a TOML file")
    try:
        lines = tomllib.loads(read_file(uri, MAX_MAP_BYTES).decode())
    except (ValueError, RecursionError) as error:
        raise UserError(
            f'{where} is no TOML file ({printable(str(error))}): give lines such as 7 = "ignore"'
        ) from error
    found = {}
    for name, meant in lines.items():
        try:
            found[_key(name)] = IGNORE if meant == IGNORE else CLASSES[class_index(meant)]
        except (KeyError, AttributeError):
            known = ", ".join(CLASSES)
            raise UserError(f"{where}: {printable(name)} = {meant!r} is no class: give {known} or {IGNORE}") from None
    return found
