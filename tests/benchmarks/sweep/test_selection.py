import pytest

from layerbench.benchmarks.errors import SettingsError
from layerbench.benchmarks.sweep.selection import parse_layers, parse_seeds


@pytest.mark.parametrize(
    ("text", "layers"),
    [
        ("all", "0 1 2 3 4 5 6 7"),
        ("0,4,7", "0 4 7"),
        ("4-6, 1", "1 4 5 6"),
        ("every:3", "0 3 6"),
        ("every:9", "0"),
        ("middle:3", "2 3 4"),
        ("full", ""),
        ("FULL, 2", "2"),
        ("0,every:4,3-4", "0 3 4"),
        ("norm,3,Scale,scale", "scale norm 3"),
        ("scale", "scale"),
    ],
)
def test_each_word_names_single_layers_or_a_control(text: str, layers: str) -> None:
    assert parse_layers(text, 8) == tuple(layers.split())


def test_layers_are_ordered_by_number() -> None:
    assert parse_layers("9-11,2", 12) == ("2", "9", "10", "11")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("8", "layer 8 is not in this model: it has 8 layers, 0 to 7"),
        ("6-9", "layer 9 is not in this model"),
        ("6-4", "count backwards at '6-4'"),
        ("middle:9", "asks for 9 layers of a model that has 8"),
        ("every:0", "cannot be read at 'every:0'"),
        ("few", "layers 'few' cannot be read at 'few': write all, 0,4,8, 4-7, every:4"),
        ("1,,2", "cannot be read at ''"),
        ("1 5", "layers '1 5' cannot be read at a space"),
        ("all-layers", "cannot be read at 'all-layers'"),
        ("none", "cannot be read at 'none'"),
        ("-1", "cannot be read at '-1'"),
    ],
)
def test_other_words_and_layers_are_refused(text: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse_layers(text, 8)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("1", (0,)), ("3", (0, 1, 2)), ("0,2,5", (0, 2, 5)), ("5, 0,5", (0, 5)), ("7,", (7,))],
)
def test_seeds_are_a_number_of_them_or_a_list(text: str, seeds: tuple[int, ...]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "0", "-1", "a", "1 2", "1,,2", ",1", "1001", "0,4294967296"])
def test_other_seeds_are_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="seed"):
        parse_seeds(text)
