import pytest

from layerbench.rl.lr_scales import check_scales, contribution_scales, parse_scales, spell_scales
from layerbench.rl.selection import parse_selection


@pytest.mark.parametrize(
    ("text", "scales"),
    [
        ("", {}),
        ("10:1.0,15:2.0", {10: 1.0, 15: 2.0}),
        (" 15 : 2 , 3:0 ", {3: 0.0, 15: 2.0}),
        ("0:1e-3", {0: 0.001}),
        ("0:2.", {0: 2.0}),
    ],
)
def test_scales_are_read(text: str, scales: dict[int, float]) -> None:
    assert parse_scales(text) == scales
    assert list(parse_scales(text)) == sorted(scales)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("15", "15"),
        ("15:x", "15:x"),
        ("1:2,", ""),
        ("-1:2", "-1:2"),
        ("1:-2", "1:-2"),
        ("1:inf", "1:inf"),
    ],
)
def test_what_cannot_be_read_is_pointed_at(text: str, part: str) -> None:
    with pytest.raises(ValueError, match=f"cannot be read at '{part}': write 10:1,15:2.5"):
        parse_scales(text)


@pytest.mark.parametrize("text", ["1:2 3:4", "1 0:2", "1:2\t3"])
def test_a_space_is_no_comma(text: str) -> None:
    with pytest.raises(ValueError, match="cannot be read at a space: part them by commas"):
        parse_scales(text)


def test_a_layer_has_one_scale() -> None:
    with pytest.raises(ValueError, match="names layer 3 twice"):
        parse_scales("3:1,3:1")


def test_what_is_written_is_read_back_exactly() -> None:
    scales = {0: 1 / 3, 7: 0.1, 20: 1e-5}
    assert parse_scales(spell_scales(scales)) == scales


def test_contributions_are_clipped_and_have_mean_1() -> None:
    contributions = {0: -0.3, 4: 0.6, 8: 1.2, 12: 0.6}
    # max(C, 0) = 0, 0.6, 1.2, 0.6; their mean is 0.6
    expected = {0: 0.0, 4: 1.0, 8: 2.0, 12: 1.0}
    assert contribution_scales(contributions, [0, 4, 8, 12]) == expected


def test_the_mean_is_over_the_layers_that_learn() -> None:
    # mean of 0.5 and 1.0 is 0.75; 0.5 / 0.75 = 0.667, 1 / 0.75 = 1.333
    assert contribution_scales({1: 0.5, 2: 1.0, 3: 9.0}, [1, 2]) == {1: 0.667, 2: 1.333}


def test_a_layer_that_was_never_measured_is_refused() -> None:
    with pytest.raises(ValueError, match="layer 2 has no contribution"):
        contribution_scales({1: 0.5}, [1, 2])


def test_layers_that_contribute_nothing_give_no_rates() -> None:
    with pytest.raises(ValueError, match="no layer contributed anything"):
        contribution_scales({1: 0.0, 2: -0.5}, [1, 2])


@pytest.mark.parametrize(
    ("scales", "selection", "says"),
    [
        ({5: 1.0}, "3-4", "names layer 5, which the selection 3,4 does not train"),
        ({5: 1.0}, "none", "names layer 5, which the selection none does not train"),
        ({3: -1.0}, "3-4", "of layer 3 must be at least 0 and finite, got -1.0"),
        ({3: float("inf")}, "3-4", "of layer 3 must be at least 0 and finite, got inf"),
        ({3: 0.0, 4: 0.0}, "3-4", "is 0 for all layers of the selection 3,4"),
    ],
)
def test_scales_must_fit_the_selection(scales: dict[int, float], selection: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        check_scales(scales, parse_selection(selection, 8))


@pytest.mark.parametrize(
    ("scales", "selection"),
    [({}, "none"), ({3: 0.0}, "3-4"), ({3: 0.0, 4: 2.0}, "3-4"), ({0: 0.0, 1: 0.0}, "full")],
)
def test_scales_that_let_something_learn_are_accepted(
    scales: dict[int, float], selection: str
) -> None:
    check_scales(scales, parse_selection(selection, 8))
