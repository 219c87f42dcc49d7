"""The grammar of ``--layers``: which layers learn, written as text."""

import hashlib
import re
from collections.abc import Sequence
from itertools import pairwise

from layerbench.errors import UserError
from layerbench.rl.types import CONTROLS, WHOLE, LayerSelection

NUMBER = "[0-9]{1,18}"
"""A number in a grammar, as a regular expression: int() of thousands of digits fails."""

BY_CONTRIBUTION = ("top", "bottom", "boost")
"""Words of the selections that an earlier sweep decides, as in ``top:5@RESULTS``."""

GRAMMAR = "15, 10,15,20-23, middle:10, random:3:0, full, all-layers, scale, norm or none"


def parse_selection(text: str, num_layers: int) -> LayerSelection:
    """Read which layers of a model learn.

    ``15`` and ``10,15,20-23`` name decoder blocks, from 0 nearest the embedding. ``middle:10`` is
    the 10 blocks nearest the middle; of two equally near, the one nearer the embedding.
    ``random:3:0`` draws 3 blocks with the seed 0: the same in every version, and with 4 in their
    place the same and one more.
    ``all-layers`` is every block, with embeddings, final norm and head frozen; ``full`` is every
    parameter. ``scale`` is one number that multiplies the logits, ``norm`` the weights of the final
    norm: controls without a layer. ``none`` leaves the base model as it is.

    >>> parse_selection(" 20-22, 3,2", 24).name
    '2,3,20-22'
    >>> parse_selection("middle:3", 24).layers
    (10, 11, 12)

    Args:
        text: The selection in this grammar; order and spaces do not matter.
        num_layers: Number of decoder blocks of the model.

    Raises:
        UserError: The text is not in the grammar, names a layer twice, or asks for layers that
            the model does not have.
    """
    written = without_spaces(text, what="layers").lower()
    every = tuple(range(num_layers))
    if written == "none" or written in CONTROLS:
        return LayerSelection(name=written, layers=(), num_layers=num_layers)
    if written in WHOLE:
        return LayerSelection(
            name=written, layers=every, num_layers=num_layers, everything=written == "full"
        )
    kind = written.partition(":")[0]
    if kind in BY_CONTRIBUTION:
        raise UserError(
            f"layers {text!r} are those of an earlier sweep, which must be named: "
            f"write {kind}:5@RESULTS, or the layers, as in 10,15,20-23"
        )
    if match := re.fullmatch(rf"middle:({NUMBER})", written):
        # Through int, so that middle:03 and middle:3 have one name: it is part of a run's identity.
        name = f"middle:{int(match[1])}"
        first, last = _middle(_count(name, int(match[1]), num_layers), num_layers)
        return LayerSelection(name=name, layers=every[first : last + 1], num_layers=num_layers)
    if match := re.fullmatch(rf"random:({NUMBER}):({NUMBER})", written):
        count, seed = int(match[1]), int(match[2])
        name = f"random:{count}:{seed}"
        drawn = _drawn(_count(name, count, num_layers), num_layers, seed=seed)
        return LayerSelection(name=name, layers=drawn, num_layers=num_layers)
    if kind == "random":
        raise UserError(f"layers {text!r} cannot be read: write random:K:SEED, as in random:3:0")
    layers = _listed_layers(written, text, num_layers)
    return LayerSelection(name=spell_layers(layers), layers=layers, num_layers=num_layers)


def names_one_layer(text: str) -> bool:
    """Tell whether a selection in this grammar, or one that an earlier sweep decides, is one layer.

    >>> [names_one_layer(text) for text in ("15", "4-4", "middle:1", "middle:10", "4,5", "full")]
    [True, True, True, False, False, False]
    """
    written = re.sub(r"\s+", "", text).lower()
    if match := re.fullmatch(rf"({NUMBER})(?:-({NUMBER}))?", written):
        return int(match[1]) == int(match[2] or match[1])
    match = re.match(rf"(?:middle|random|top|bottom):({NUMBER})(?![0-9])", written)
    return match is not None and int(match[1]) == 1


def without_spaces(text: str, *, what: str) -> str:
    """Take the spaces out of a list of numbers and words.

    >>> without_spaces(" 20 - 22, 3", what="layers")
    '20-22,3'

    Args:
        text: The list.
        what: Name of the listed things in errors.

    Raises:
        UserError: Two of them are separated by a space alone: ``1 5`` is not 15.
    """
    if re.search(r"\w\s+\w", text):
        raise UserError(f"{what} {text!r} cannot be read at a space: part them by commas")
    return re.sub(r"\s+", "", text)


def spell_layers(layers: Sequence[int]) -> str:
    """Write layers as a selection, with ranges of three and more.

    >>> spell_layers([2, 3, 20, 21, 22])
    '2,3,20-22'

    Args:
        layers: Numbers of layers, ascending.
    """
    runs: list[list[int]] = []
    for layer in layers:
        if runs and runs[-1][-1] == layer - 1:
            runs[-1].append(layer)
        else:
            runs.append([layer])
    spelled = [
        f"{run[0]}-{run[-1]}" if len(run) > 2 else ",".join(str(layer) for layer in run)
        for run in runs
    ]
    return ",".join(spelled)


def _count(name: str, count: int, num_layers: int) -> int:
    if not 1 <= count <= num_layers:
        raise UserError(
            f"{name} asks for {count} layers of a model that has {num_layers}: "
            f"ask for 1 to {num_layers}"
        )
    return count


def _middle(count: int, num_layers: int) -> tuple[int, int]:
    first = (num_layers - count) // 2
    return first, first + count - 1


def _drawn(count: int, num_layers: int, *, seed: int) -> tuple[int, ...]:
    """Draw layers without replacement, all sets of ``count`` equally likely over the seeds."""

    # By hashes, since a record is checked by drawing again: generators change with their library.
    def rank(layer: int) -> bytes:
        return hashlib.sha256(f"random {seed} {layer}".encode()).digest()

    return tuple(sorted(sorted(range(num_layers), key=rank)[:count]))


def _listed_layers(written: str, text: str, num_layers: int) -> tuple[int, ...]:
    layers: list[int] = []
    for part in written.split(","):
        match = re.fullmatch(rf"({NUMBER})(?:-({NUMBER}))?", part)
        if match is None:
            raise UserError(f"layers {text!r} cannot be read at {part!r}: write {GRAMMAR}")
        first, last = int(match[1]), int(match[2] or match[1])
        if first > last:
            raise UserError(f"layers {text!r} count backwards at {part!r}: write {last}-{first}")
        # A range that leaves the model is not spelled out: one layer outside is enough to refuse.
        layers.extend(range(first, last + 1) if last < num_layers else [last])
    layers.sort()
    for layer, following in pairwise(layers):
        if layer == following:
            raise UserError(f"layers {text!r} name layer {layer} twice: name it once")
    return tuple(layers)
