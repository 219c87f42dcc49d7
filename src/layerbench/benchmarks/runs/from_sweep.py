"""Layers and learning rates from the contributions of layers in an earlier sweep."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from layerbench.benchmarks.config.identity import identify
from layerbench.benchmarks.config.schema import RunConfig, SourceConfig
from layerbench.benchmarks.errors import SettingsError, UserError
from layerbench.benchmarks.leaderboard import contributions
from layerbench.benchmarks.leaderboard.contributions import SweptTable
from layerbench.benchmarks.models.present import hash_model
from layerbench.benchmarks.records.comparability import BoardKey, files_digest
from layerbench.envs import registry
from layerbench.envs.data_files import DataFileError
from layerbench.rl.lr_scales import contribution_scales, spell_scales
from layerbench.rl.selection import NUMBER, parse_selection, spell_layers


def fill_in(config: RunConfig) -> None:
    """Replace references to an earlier sweep by the layers and learning rates read from it.

    ``top:K@RESULTS`` becomes the K layers of the largest contribution (of equal ones, those nearer
    the embedding), and ``train.lr_scale=@RESULTS`` the multipliers of ``contribution_scales``. The
    source is recorded in ``read_from``, so that a run keeps its values when RESULTS changes.

    Raises:
        UserError: RESULTS has no table of this environment, or several that differ; a contribution
            is undefined; or there are too few layers.
    """
    if "@" in config.layers:
        table = _table(config.layers.partition("@")[2], config)
        config.read_from.layers = _source(config.layers, table)
        config.layers = _top(config.layers, table)
    # After `layers`, since the multipliers are those of the selected layers.
    if "@" in config.train.lr_scale:
        table = _table(config.train.lr_scale.partition("@")[2], config)
        config.read_from.lr_scale = _source(config.train.lr_scale, table)
        selection = parse_selection(config.layers, table.num_layers)
        if not selection.layers:
            raise SettingsError(f"train.lr_scale is of layers that learn, layers={config.layers}")
        scales = contribution_scales(table.contributions, selection.layers)
        config.train = replace(config.train, lr_scale=spell_scales(scales))


def _source(reference: str, table: SweptTable) -> SourceConfig:
    return SourceConfig(
        asked=reference,
        table=table.name,
        sha256=table.sha256,
        # `prepare` compares this hash with the base model's, which is not loaded yet.
        weights_sha256=table.key.weights_sha256,
    )


def _top(reference: str, table: SweptTable) -> str:
    match = re.fullmatch(rf"top:({NUMBER})@.*", reference, re.DOTALL)
    if match is None:
        raise SettingsError(f"layers cannot be '{reference}': write top:5@RESULTS")
    count, by_layer = int(match[1]), table.contributions
    if not 1 <= count <= len(by_layer):
        raise SettingsError(
            f"layers '{reference}' asks for {count} layers, but {len(by_layer)} were "
            f"trained alone: {spell_layers(sorted(by_layer))}"
        )
    best = sorted(by_layer, key=lambda layer: (-by_layer[layer], layer))[:count]
    return spell_layers(sorted(best))


def _table(results: str, config: RunConfig) -> SweptTable:
    """Find the one table to read the run's layers from, with every contribution defined."""
    tables = contributions.read(Path(results))
    here, files = identify(config.env), files_digest(hash_model(config.model))
    candidates = [table for table in tables if _is_of_same_tasks(table.key, config)]
    if not candidates:
        others = sorted({f"{t.key.gym_id} {t.key.games}" for t in tables})
        raise SettingsError(
            f"{results} has no layers trained alone in {here.gym_id} {here.source}, "
            f"but in: {', '.join(others) or 'nothing'}"
        )
    # Of several tables, those of the run's own model, first split, algorithm and preset; where no
    # table has the same, that preference is dropped.
    preferences: tuple[Callable[[BoardKey], bool], ...] = (
        lambda key: key.model_files == files if files and key.model_files else False,
        lambda key: key.model == config.model.name,
        lambda key: key.split == config.env.eval_splits[0],
        lambda key: key.algorithm == config.algorithm.name,
        lambda key: key.preset == config.preset,
    )
    for is_preferred in preferences:
        candidates = [table for table in candidates if is_preferred(table.key)] or candidates
    if len(candidates) > 1:
        names = "; ".join(map(_describe, candidates))
        raise SettingsError(f"{results} has several tables: name a folder with one of {names}")
    [table] = candidates
    if files and table.key.model_files not in ("", files):
        raise SettingsError(
            f"table {table.name} in {results} is of a model with another tokenizer, chat template "
            f"or configuration than {config.model.name}: its layers say nothing about this one's"
        )
    # Without a contribution a layer has no rank; left out, it would pass for one of the worst.
    for layer, reason in table.undefined.items():
        raise SettingsError(
            f"layer {layer} of table {table.name} in {results} has no contribution: {reason}"
        )
    return table


def _is_of_same_tasks(key: BoardKey, config: RunConfig) -> bool:
    """Tell whether a table is of the environment and the games that these settings name."""
    spec, env = registry.find(config.env.reference), config.env
    if key.gym_id != spec.gym_id:
        return False
    try:
        here = registry.describe(spec, env.options, splits=(env.train_split, key.split))
    except DataFileError:
        raise
    # The table's split is one of another source.
    except UserError:
        return False
    return (key.games, key.env_version) == (here.source, here.version)


def _describe(table: SweptTable) -> str:
    key = table.key
    return f"{table.name} ({', '.join((key.model, key.split, key.algorithm, *table.differs))})"
