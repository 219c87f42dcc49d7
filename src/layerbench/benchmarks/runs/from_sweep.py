"""Layers and learning rates from the contributions of layers in an earlier sweep."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from layerbench.benchmarks.config.identity import identify
from layerbench.benchmarks.config.schema import RunConfig, SourceConfig
from layerbench.benchmarks.errors import SettingsError, UserError
from layerbench.benchmarks.leaderboard import contributions
from layerbench.benchmarks.leaderboard.contributions import SweptTable
from layerbench.benchmarks.models.present import hash_model
from layerbench.benchmarks.records.comparability import BoardKey, Protocol, files_digest
from layerbench.benchmarks.records.run_record import FULL_SELECTION
from layerbench.envs import registry
from layerbench.envs.data_files import DataFileError
from layerbench.rl.lr_scales import BOOST, contribution_scales, spell_scales
from layerbench.rl.selection import BY_CONTRIBUTION, NUMBER, parse_selection, spell_layers


def fill_in(config: RunConfig) -> None:
    """Replace references to an earlier sweep by the layers and learning rates read from it.

    ``top:K@RESULTS`` becomes the K layers of the largest contribution (of equal ones, those nearer
    the embedding), ``bottom:K@RESULTS`` the last K of the same order, and
    ``train.lr_scale=@RESULTS`` the multipliers of ``contribution_scales``. ``boost:K@RESULTS``
    becomes ``full`` with a multiplier of 2 for the first K; as ``train.lr_scale`` it is that
    multiplier alone. The source is recorded in ``read_from``, so that a run keeps its values when
    RESULTS changes.

    Raises:
        UserError: RESULTS has no table of this environment, or several that differ; a contribution
            is undefined; or there are too few layers.
    """
    if "@" in config.layers:
        _fill_in_layers(config)
    # After `layers`, since the multipliers are those of the selected layers.
    if "@" in config.train.lr_scale:
        _fill_in_rates(config)


def _fill_in_layers(config: RunConfig) -> None:
    asked = config.layers
    kind, count, results = _reference(asked, "layers", BY_CONTRIBUTION)
    table = _table(results, config)
    config.read_from.layers = _source(asked, table)
    if kind != "boost":
        chosen = _first(table.contributions, count, asked, last=kind == "bottom")
        config.layers = spell_layers(sorted(chosen))
        return
    # The same reference in both places: a file of settings has it in both.
    if config.train.lr_scale not in ("", asked):
        raise SettingsError(
            f"layers={asked} chooses train.lr_scale, which cannot be {config.train.lr_scale} as "
            "well: leave one of them out"
        )
    # Not `all-layers`: so only the multipliers are others than those of full training, which it is
    # compared with.
    config.layers = FULL_SELECTION
    config.train = replace(config.train, lr_scale=_boosted(table, count, asked))
    config.read_from.lr_scale = replace(config.read_from.layers)


def _fill_in_rates(config: RunConfig) -> None:
    asked = config.train.lr_scale
    is_boost = not asked.startswith("@")
    count, results = 0, asked[1:]
    if is_boost:
        _, count, results = _reference(asked, "train.lr_scale", ("boost",))
    table = _table(results, config)
    config.read_from.lr_scale = _source(asked, table)
    selection = parse_selection(config.layers, table.num_layers)
    if not selection.layers:
        raise SettingsError(f"train.lr_scale is of layers that learn, layers={config.layers}")
    scales = (
        _boosted(table, count, asked)
        if is_boost
        else spell_scales(contribution_scales(table.contributions, selection.layers))
    )
    config.train = replace(config.train, lr_scale=scales)


def _boosted(table: SweptTable, count: int, asked: str) -> str:
    return spell_scales(dict.fromkeys(_first(table.contributions, count, asked), BOOST))


def _source(reference: str, table: SweptTable) -> SourceConfig:
    return SourceConfig(
        asked=reference,
        table=table.name,
        sha256=table.sha256,
        # `prepare` compares this hash with the base model's, which is not loaded yet.
        weights_sha256=table.key.weights_sha256,
    )


def _reference(text: str, name: str, kinds: Sequence[str]) -> tuple[str, int, str]:
    """Read a reference such as ``top:5@RESULTS``: its word, its number and RESULTS."""
    match = re.fullmatch(rf"({'|'.join(kinds)}):({NUMBER})@(.*)", text, re.DOTALL)
    if match is None:
        forms = ", ".join(f"{kind}:5@RESULTS" for kind in kinds)
        raise SettingsError(f"{name} cannot be '{text}': write one of {forms}")
    return match[1], int(match[2]), match[3]


def _first(
    by_layer: Mapping[int, float], count: int, asked: str, *, last: bool = False
) -> list[int]:
    """Take layers from the beginning of their order by contribution, or from its end."""
    if not 1 <= count <= len(by_layer):
        raise SettingsError(
            f"layers '{asked}' asks for {count} layers, but {len(by_layer)} were "
            f"trained alone: {spell_layers(sorted(by_layer))}"
        )
    order = sorted(by_layer, key=lambda layer: (-by_layer[layer], layer))
    return order[-count:] if last else order[:count]


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
        # Rates of their own are another order's: taken where there is none by one rate for all.
        lambda key: key.protocol != Protocol.TUNED,
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
