"""Layers and learning rates by what the layers contributed in an earlier sweep."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from layerbench.benchmarks.config.schema import RunConfig, SourceConfig
from layerbench.benchmarks.errors import SettingsError
from layerbench.benchmarks.leaderboard import contributions
from layerbench.benchmarks.leaderboard.contributions import SweptTable
from layerbench.benchmarks.leaderboard.types import BoardKey
from layerbench.envs import registry
from layerbench.rl.lr_scales import contribution_scales, spell_scales
from layerbench.rl.selection import parse_selection, spell_layers


def fill_in(config: RunConfig) -> None:
    """Put layers and learning rates in the place of the sweep that they are to be read from.

    ``top:K@RESULTS`` becomes the K layers of the largest contribution, of equal ones those nearer
    the embedding, and ``train.lr_scale=@RESULTS`` what ``contribution_scales`` makes of them. Where
    they came from is kept beside them, so that the same settings give the same run whatever
    RESULTS holds later.

    Raises:
        UserError: RESULTS has no table of this environment, or several that differ; a contribution
            is undefined; or there are too few layers.
    """
    if "@" in config.layers:
        table = _table(config.layers.partition("@")[2], config)
        config.read_from.layers = _source(config.layers, table)
        config.layers = _top(config.layers, table)
    if "@" in config.train.lr_scale:
        table = _table(config.train.lr_scale.partition("@")[2], config)
        config.read_from.lr_scale = _source(config.train.lr_scale, table)
        selection = parse_selection(config.layers, table.num_layers)
        if not selection.layers:
            raise SettingsError(f"train.lr_scale is of layers that learn, layers={config.layers}")
        scales = contribution_scales(table.contributions, selection.layers)
        config.train = replace(config.train, lr_scale=spell_scales(scales))


def _source(asked: str, table: SweptTable) -> SourceConfig:
    return SourceConfig(
        asked=asked,
        table=table.name,
        sha256=table.sha256,
        weights_sha256=table.key.weights_sha256,
    )


def _top(asked: str, table: SweptTable) -> str:
    match = re.fullmatch(r"top:(\d+)@.*", asked)
    if match is None:
        raise SettingsError(f"layers cannot be '{asked}': write top:5@RESULTS")
    count, known = int(match[1]), table.contributions
    if not 1 <= count <= len(known):
        raise SettingsError(
            f"layers '{asked}' asks for {count} layers, but {len(known)} were trained alone: "
            f"{spell_layers(sorted(known))}"
        )
    best = sorted(known, key=lambda layer: (-known[layer], layer))[:count]
    return spell_layers(sorted(best))


def _table(where: str, config: RunConfig) -> SweptTable:
    """Find the one table that the run's layers can be read from, with every C defined."""
    tables = contributions.read(Path(where))
    identity = registry.describe(registry.find(config.env.name), config.env.options)
    mine = (identity.gym_id, identity.source, identity.version)
    found = [t for t in tables if (t.key.gym_id, t.key.games, t.key.env_version) == mine]
    if not found:
        others = sorted({f"{t.key.gym_id} {t.key.games}" for t in tables})
        raise SettingsError(
            f"{where} has no layers trained alone in {identity.gym_id} {identity.source}, "
            f"but in: {', '.join(others) or 'nothing'}"
        )
    # Where there is a choice: what the run itself plays with, is scored on and learns by.
    wishes: tuple[Callable[[BoardKey], bool], ...] = (
        lambda key: key.model == config.model.name,
        lambda key: key.split == config.env.eval_splits[0],
        lambda key: key.algorithm == config.algorithm.name,
        lambda key: key.preset == config.preset,
    )
    for wish in wishes:
        found = [table for table in found if wish(table.key)] or found
    if len(found) > 1:
        names = "; ".join(map(_describe, found))
        raise SettingsError(f"{where} has several tables: name a folder with one of {names}")
    for layer, reason in found[0].undefined.items():
        raise SettingsError(
            f"layer {layer} of table {found[0].name} in {where} has no contribution: {reason}"
        )
    return found[0]


def _describe(table: SweptTable) -> str:
    key = table.key
    return f"{table.name} ({', '.join((key.model, key.split, key.algorithm, *table.differs))})"
