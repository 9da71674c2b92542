import pytest

from fer_data.emotions import CLASSES, FOLDER_ORDER, class_index, permutation_from


def test_the_order_is_that_of_the_csv_codes():
    assert CLASSES == ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")


@pytest.mark.parametrize(("name", "expected"), [("Happiness", "happy"), (" anger ", "angry"), ("NEUTRAL", "neutral")])
def test_classes_are_known_by_name_and_usual_synonyms_in_any_case(name, expected):
    assert CLASSES[class_index(name)] == expected


def test_an_unknown_class_is_refused():
    with pytest.raises(KeyError, match="contempt"):
        class_index("contempt")


def test_folder_order_is_translated_by_name():
    assert [FOLDER_ORDER[i] for i in permutation_from(FOLDER_ORDER)] == list(CLASSES)


def test_an_order_that_lacks_a_class_is_refused():
    with pytest.raises(ValueError, match="each of"):
        permutation_from(["angry"] * 7)
