"""The grammar of ``--layers``."""

import re

import pytest
from hypothesis import given
from hypothesis import settings as given_settings
from hypothesis import strategies as st

from layerbench.rl.selection import parse_selection
from layerbench.rl.types import LayerSelection


@pytest.mark.parametrize(
    ("text", "layers", "name"),
    [
        ("15", (15,), "15"),
        ("10,15,20-23", (10, 15, 20, 21, 22, 23), "10,15,20-23"),
        ("20-23, 15 ,10", (10, 15, 20, 21, 22, 23), "10,15,20-23"),
        ("3-4", (3, 4), "3,4"),
        ("7-7", (7,), "7"),
        # 24 layers: the middle lies between 11 and 12.
        ("middle:2", (11, 12), "middle:2"),
        ("middle:10", tuple(range(7, 17)), "middle:10"),
        # Of 10 and 13, equally near, the one nearer the embedding.
        ("middle:3", (10, 11, 12), "middle:3"),
        ("middle:24", tuple(range(24)), "middle:24"),
        # By the hashes below, which no version may change: records name what was drawn.
        ("random:3:0", (11, 14, 23), "random:3:0"),
        ("Random: 03:00", (11, 14, 23), "random:3:0"),
        ("random:3:1", (6, 11, 20), "random:3:1"),
        ("random:24:0", tuple(range(24)), "random:24:0"),
        ("all-layers", tuple(range(24)), "all-layers"),
        ("Full", tuple(range(24)), "full"),
        ("none", (), "none"),
    ],
)
def test_selection_is_read_and_spelled_one_way(
    text: str, layers: tuple[int, ...], name: str
) -> None:
    assert parse_selection(text, 24) == LayerSelection(
        name=name, layers=layers, num_layers=24, everything=name == "full"
    )


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("28", "layer 28 is not in this model: it has 28 layers, 0 to 27"),
        ("20-99999999999", "layer 99999999999 is not in this model: it has 28 layers, 0 to 27"),
        (
            "-1",
            "layers '-1' cannot be read at '-1': write 15, 10,15,20-23, middle:10, random:3:0, ",
        ),
        ("15,,16", "layers '15,,16' cannot be read at ''"),
        ("", "layers '' cannot be read at ''"),
        ("1 5", "layers '1 5' cannot be read at a space: part them by commas"),
        ("fool", "layers 'fool' cannot be read at 'fool'"),
        ("9-3", "layers '9-3' count backwards at '9-3': write 3-9"),
        ("3,1-4", "layers '3,1-4' name layer 3 twice"),
        ("middle:0", "middle:0 asks for 0 layers of a model that has 28: ask for 1 to 28"),
        ("middle:29", "middle:29 asks for 29 layers"),
        ("middle", "layers 'middle' cannot be read"),
        ("top:3@sweep.json", "layers 'top:3@sweep.json' are those of an earlier sweep"),
        (
            "bottom:3",
            "layers 'bottom:3' are those of an earlier sweep, which must be named: "
            "write bottom:5@RESULTS",
        ),
        ("boost:3", "layers 'boost:3' are those of an earlier sweep"),
        ("random:0:1", "random:0:1 asks for 0 layers of a model that has 28: ask for 1 to 28"),
        ("random:29:1", "random:29:1 asks for 29 layers"),
        ("random:3", "layers 'random:3' cannot be read: write random:K:SEED, as in random:3:0"),
        ("random:3:-1", "layers 'random:3:-1' cannot be read: write random:K:SEED"),
        ("random", "layers 'random' cannot be read: write random:K:SEED"),
    ],
)
def test_selection_outside_the_grammar_or_model_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(complaint)}"):
        parse_selection(text, 28)


def test_random_layers_are_all_equally_likely_and_grow_by_one() -> None:
    drawn = [set(parse_selection(f"random:3:{seed}", 8).layers) for seed in range(2000)]
    counts = [sum(layer in layers for layers in drawn) for layer in range(8)]
    # Each layer in 3/8 of 2000 draws, 750, with a standard deviation of 22: five of them.
    assert all(abs(count - 750) < 110 for count in counts), counts
    more = [set(parse_selection(f"random:4:{seed}", 8).layers) for seed in range(2000)]
    assert all(few < many for few, many in zip(drawn, more, strict=True))


# A busy machine is no reason to fail.
@given_settings(deadline=None, max_examples=60)
@given(st.sets(st.integers(0, 30), min_size=1))
def test_spelled_selection_reads_back_as_itself(layers: set[int]) -> None:
    selection = parse_selection(",".join(str(layer) for layer in layers), 31)
    assert selection.layers == tuple(sorted(layers))
    assert parse_selection(selection.name, 31) == selection
