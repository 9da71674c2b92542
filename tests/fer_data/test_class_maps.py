"""Foreign names and numbers of classes lead to one of the seven, or are ignored."""

import pytest

from fer_data.class_maps import PUBLISHED, class_map
from fer_data.emotions import CLASSES
from fer_data.errors import UserError
from tests.fer_data.raw_forms import write

NUMBERS = {
    "affectnet": "neutral happy sad surprise fear disgust angry ignore",
    "raf-db": "? surprise fear disgust happy sad angry neutral",
    "ck+": "neutral angry ignore disgust fear happy sad surprise",
    "fer+": "neutral happy surprise sad angry disgust fear ignore ignore ignore",
    "fer2013": "angry disgust fear happy sad surprise neutral",
}


def meaning(name: str, called: str) -> str:
    """Our class for what a map calls `called`, "ignore", or "?" if the map does not know it."""
    try:
        label = class_map(name).label(called)
    except KeyError:
        return "?"
    return "ignore" if label is None else CLASSES[label]


@pytest.mark.parametrize("name", NUMBERS)
def test_the_numbers_of_a_published_data_set_are_those_of_its_publication(name):
    meanings = NUMBERS[name].split()
    assert [meaning(name, str(number)) for number in range(len(meanings))] == meanings


def test_jaffe_says_the_class_in_the_name_of_each_file():
    jaffe = class_map("jaffe")
    codes = {"AN": 0, "DI": 1, "FE": 2, "HA": 3, "SA": 4, "SU": 5, "NE": 6}
    for code, label in codes.items():
        assert jaffe.label(jaffe.name_of("jaffedbase", f"KA.{code}1.39.tiff")) == label
    assert jaffe.name_of("happy", "portrait.tiff") == "happy"


def test_every_map_covers_the_seven_classes_and_takes_our_own_names_too():
    for name, published in PUBLISHED.items():
        assert set(published.names.values()) - {"ignore"} == set(CLASSES), name
        assert class_map(name).label("Happiness") == 3


def test_contempt_is_ignored_by_name_where_the_data_set_has_it():
    assert [meaning(name, "Contempt") for name in ("affectnet", "ck+", "fer+", "raf-db")] == ["ignore"] * 3 + ["?"]


def test_a_file_names_classes_by_number_or_name(tmp_path):
    path = write(tmp_path / "map.toml", b'01 = "joy"\n2 = "ignore"\n"Very sad" = "sadness"\n')
    classes = class_map(path)
    assert [classes.label(name) for name in ("1", "01", "2", "very SAD", "fear")] == [3, 3, None, 4, 2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'7 = "contempt"', "7 = 'contempt' is no class: give angry, .* or ignore"),
        (b"7 = 3", "7 = 3 is no class"),
        (b'[happy]\n1 = "x"', "is no class"),
        (b"7: happy", "is no TOML file"),
        (b"\xff", "is no TOML file"),
    ],
)
def test_a_mistake_in_a_file_is_one_line_that_names_it(text, message, tmp_path):
    path = write(tmp_path / "map.toml", text)
    with pytest.raises(UserError, match=message) as error:
        class_map(path)
    assert "map.toml" in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unknown_map_is_told_the_known_ones(tmp_path):
    with pytest.raises(UserError, match=r"affectnett.*give affectnet, raf-db, ck\+, jaffe, fer\+"):
        class_map("affectnett")


def test_a_class_may_be_ignored_by_any_of_its_names():
    assert class_map("affectnet", ["neutral"]).label("0") is None
    assert class_map(None, ["sadness"]).label("sad") is None
    assert class_map(None, ["sad"]).label("Sadness") is None
    assert class_map(None, ["07"]).label("7") is None
    assert class_map(None, ["contempt"]).label("happy") == 3
