"""Parses the layers and the seeds of a sweep."""

import re

from layerbench.agents import torchrun
from layerbench.benchmarks.errors import SettingsError, UserError
from layerbench.benchmarks.records.run_record import FULL_SELECTION
from layerbench.rl.selection import NUMBER, parse_selection, without_spaces
from layerbench.rl.types import CONTROLS

LAYERS = "all, 0,4,8, 4-7, every:4, middle:10, full, scale or norm"
SEEDS = "3 for seeds 0, 1 and 2, or a list such as 0,2,5"

# The limit of `Seed` in config/schema.py: one word of numpy's SeedSequence.
_LAST_SEED = 2**32 - 1
_SEED = "[0-9]{1,10}"


def parse_layers(text: str, num_layers: int) -> tuple[str, ...]:
    """Parse what a sweep trains beside the full model, a run each: floor controls, then layers.

    Every word but ``scale`` and ``norm`` names single layers: ``middle:10`` means the ten layers
    nearest the middle, each in a run of its own. ``full`` adds none, since every sweep trains the
    full model.

    >>> parse_layers("every:4, 1-2, full, scale", 10)
    ('scale', '0', '1', '2', '4', '8')
    >>> parse_layers("middle:3", 24)
    ('10', '11', '12')

    Args:
        text: Words separated by commas; order, spaces and repeats do not matter.
        num_layers: Number of decoder blocks of the model.

    Raises:
        SettingsError: A word is not in the grammar, or names layers that the model lacks.
    """
    words = _without_spaces(text, what="layers").lower().split(",")
    controls = [control for control in CONTROLS if control in words]
    named = [word for word in words if word not in CONTROLS]
    layers = sorted({layer for word in named for layer in _layers(word, text, num_layers)})
    return (*controls, *map(str, layers))


def parse_seeds(text: str) -> tuple[int, ...]:
    """Parse the seeds of training: their number, counted from 0, or a list.

    >>> parse_seeds("3"), parse_seeds("5,0,2"), parse_seeds("7,")
    ((0, 1, 2), (0, 2, 5), (7,))

    Raises:
        SettingsError: The text is neither, or a number is out of range.
    """
    compact = _without_spaces(text, what="seeds")
    if re.fullmatch(NUMBER, compact):
        count = int(compact)
        if not 1 <= count <= 1000:
            raise SettingsError(f"seeds must be 1 to 1000 in number, got {count}: write {SEEDS}")
        return tuple(range(count))
    # The trailing comma makes a list of one seed: "7," is seed 7, "7" is seven seeds.
    if not re.fullmatch(rf"{_SEED}(,{_SEED})*,?", compact):
        raise SettingsError(f"seeds '{text}' cannot be read: write {SEEDS}")
    seeds = sorted({int(word) for word in compact.split(",") if word})
    if seeds[-1] > _LAST_SEED:
        raise SettingsError(f"a seed must be from 0 to {_LAST_SEED}, got {seeds[-1]}")
    return tuple(seeds)


def refuse_torchrun() -> None:
    """Refuse to be one of the processes that torchrun started.

    Raises:
        SettingsError: It is one.
    """
    if torchrun.processes() > 1:
        raise SettingsError(
            "a sweep starts its runs itself: leave torchrun out, and see docs/sweeps.md for "
            "several GPUs"
        )


def _without_spaces(text: str, *, what: str) -> str:
    try:
        return without_spaces(text, what=what)
    except UserError as error:
        raise SettingsError(str(error)) from error


def _layers(word: str, text: str, num_layers: int) -> tuple[int, ...]:
    if word == FULL_SELECTION:
        return ()
    if word == "all":
        return tuple(range(num_layers))
    if match := re.fullmatch(r"every:([1-9][0-9]{0,8})", word):
        return tuple(range(0, num_layers, int(match[1])))
    if re.fullmatch(rf"{NUMBER}(-{NUMBER})?|middle:{NUMBER}", word):
        try:
            return parse_selection(word, num_layers).layers
        except UserError as error:
            raise SettingsError(str(error)) from error
    raise SettingsError(f"layers '{text}' cannot be read at '{word}': write {LAYERS}")
