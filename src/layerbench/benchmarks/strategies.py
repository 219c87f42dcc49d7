"""Layers and learning rates by what the layers contributed in an earlier sweep."""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from layerbench.benchmarks import gather
from layerbench.benchmarks.boards import Board, BoardKey, Role, Row
from layerbench.benchmarks.overrides import SettingsError
from layerbench.benchmarks.settings import RunConfig, SourceConfig
from layerbench.envs import registry
from layerbench.rl.layers import parse_selection
from layerbench.rl.scales import contribution_scales, spell_scales
from layerbench.rl.types import spell_layers


@dataclass(frozen=True, slots=True)
class Sweep:
    """One table of layers that were trained alone.

    Attributes:
        where: What was named on the command line.
        table: Name of the table.
        sha256: Hash of the records behind it.
        weights_sha256: Of the base model.
        num_layers: Decoder blocks of the model.
        contributions: C by layer, at least one.
    """

    where: str
    table: str
    sha256: str
    weights_sha256: str
    num_layers: int
    contributions: dict[int, float]


def resolve(config: RunConfig) -> None:
    """Put layers and learning rates in the place of the sweep that they are to be read from.

    ``top:K@RESULTS`` becomes the K layers of the largest contribution, of equal ones those nearer
    the embedding, and ``train.lr_scale=@RESULTS`` what ``contribution_scales`` makes of them. Where
    they came from is kept beside them, so that the same settings give the same run whatever
    RESULTS holds later.

    Raises:
        ValueError: RESULTS has no table of this environment and model, or several that differ; a
            contribution is undefined; or there are too few layers.
    """
    if "@" in config.layers:
        sweep = _read_sweep(config.layers.partition("@")[2], config)
        config.read_from.layers = _source(config.layers, sweep)
        config.layers = _top(config.layers, sweep)
    if "@" in config.train.lr_scale:
        sweep = _read_sweep(config.train.lr_scale.partition("@")[2], config)
        config.read_from.lr_scale = _source(config.train.lr_scale, sweep)
        selection = parse_selection(config.layers, sweep.num_layers)
        if not selection.layers:
            raise SettingsError(f"train.lr_scale is of layers that learn, layers={config.layers}")
        scales = contribution_scales(sweep.contributions, selection.layers)
        config.train.lr_scale = spell_scales(scales)


def _source(asked: str, sweep: Sweep) -> SourceConfig:
    return SourceConfig(
        asked=asked, table=sweep.table, sha256=sweep.sha256, weights_sha256=sweep.weights_sha256
    )


def _top(asked: str, sweep: Sweep) -> str:
    match = re.fullmatch(r"top:(\d+)@.*", asked)
    if match is None:
        raise SettingsError(f"layers cannot be '{asked}': write top:5@RESULTS")
    count, known = int(match[1]), sweep.contributions
    if not 1 <= count <= len(known):
        raise SettingsError(
            f"layers '{asked}' asks for {count} layers, but {len(known)} were trained alone: "
            f"{spell_layers(sorted(known))}"
        )
    best = sorted(known, key=lambda layer: (-known[layer], layer))[:count]
    return spell_layers(sorted(best))


def _read_sweep(where: str, config: RunConfig) -> Sweep:
    board = _choose(gather.gather([Path(where)]).boards, where, config)
    compared = [row for row in board.rows if row.role is not Role.LAYERS or _is_alone(row)]
    contributions: dict[int, float] = {}
    for row in filter(_is_alone, compared):
        if row.contribution.estimate is None:
            raise SettingsError(
                f"layer {row.selection} of table {board.name} in {where} has no contribution: "
                f"{row.contribution.undefined}"
            )
        contributions[row.layers[0]] = row.contribution.estimate.value
    return Sweep(
        where=where,
        table=board.name,
        sha256=_hash([run.path for row in compared for run in row.runs]),
        weights_sha256=board.key.weights_sha256,
        num_layers=board.num_layers,
        contributions=contributions,
    )


def _is_alone(row: Row) -> bool:
    """Tell a layer trained alone and at the ordinary rate, whose selection is its number."""
    return row.role is Role.LAYERS and row.selection == spell_layers(row.layers[:1])


def _choose(boards: Sequence[Board], where: str, config: RunConfig) -> Board:
    """Find the one table that the run's layers can be read from."""
    identity = registry.describe(registry.find(config.env.name), config.env.options)
    mine = (identity.gym_id, identity.source, identity.version)
    swept = [board for board in boards if any(map(_is_alone, board.rows))]
    found = [b for b in swept if (b.key.gym_id, b.key.games, b.key.env_version) == mine]
    if not found:
        others = sorted({f"{b.key.gym_id} {b.key.games}" for b in swept})
        raise SettingsError(
            f"{where} has no layers trained alone in {identity.gym_id} {identity.source}, "
            f"but in: {', '.join(others) or 'nothing'}"
        )
    # Where there is a choice: what the run itself is scored on, plays with and learns by.
    wishes: tuple[Callable[[BoardKey], bool], ...] = (
        lambda key: key.model == config.model.name,
        lambda key: key.split == config.env.eval_splits[0],
        lambda key: key.algorithm == config.algorithm.name,
        lambda key: key.preset == config.preset,
    )
    for wish in wishes:
        found = [board for board in found if wish(board.key)] or found
    if len(found) > 1:
        names = "; ".join(
            f"{b.name} ({', '.join((b.key.model, b.key.split, b.key.algorithm, *b.differs))})"
            for b in found
        )
        raise SettingsError(f"{where} has several tables: name a folder with one of {names}")
    return found[0]


def _hash(paths: Sequence[Path]) -> str:
    """Hash what stands in some files, wherever they lie."""
    contents = {hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    return hashlib.sha256("".join(sorted(contents)).encode()).hexdigest()
