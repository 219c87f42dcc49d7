"""Records as rows, and policies compared by them."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from layerbench.benchmarks.api.arguments import AnyPath
from layerbench.benchmarks.errors import SettingsError

if TYPE_CHECKING:
    import pandas as pd  # pyright: ignore[reportMissingTypeStubs]

    from layerbench.benchmarks.comparison.types import Comparison


@overload
def load_records(*paths: AnyPath, as_dicts: Literal[False] = False) -> "pd.DataFrame": ...
@overload
def load_records(*paths: AnyPath, as_dicts: Literal[True]) -> list[dict[str, Any]]: ...
def load_records(*paths: AnyPath, as_dicts: bool = False) -> "pd.DataFrame | list[dict[str, Any]]":
    """Read records into a table: a row for each phase and split of each run.

    A record that cannot be read is left out, with a warning.

    Args:
        paths: Folders, searched for ``record.json`` at any depth, or records themselves.
        as_dicts: Give the rows as dictionaries, which needs no pandas.

    Raises:
        UserError: No path was given, one does not exist, or pandas is not installed.
    """
    from layerbench.benchmarks.records import discover, record_rows

    _require_some(paths)
    # Before the records are read, which can take a while.
    make_frame = None if as_dicts else _data_frame()
    found = discover.find([Path(path) for path in paths])
    for broken in found.broken:
        warnings.warn(f"{broken.path} is left out: {broken.reason}", stacklevel=2)
    rows = [row for run in found.finished for row in record_rows.rows(run)]
    return rows if make_frame is None else make_frame(rows)


def contributions(*paths: AnyPath) -> list[dict[str, Any]]:
    """Compare selections of layers as ``layerbench leaderboard`` does, as plain rows.

    Args:
        paths: As for ``load_records``.

    Returns:
        A row for each selection of each table: what the table's records have in common, the
        selection, its success, its contribution and gain with 95 % intervals, and the verdict.
        ``docs/leaderboard.md`` describes the columns; what is undefined is None.

    Raises:
        UserError: No path was given, one does not exist, or there is no record that can be read.
    """
    from layerbench.benchmarks.leaderboard import build, json_csv

    _require_some(paths)
    return list(json_csv.selection_rows(build.gather_some([Path(path) for path in paths])))


def compare(a: AnyPath, b: AnyPath, *, phase: str | None = None) -> "Comparison":
    """Compare two policies on the tasks that both played: ``layerbench compare``.

    Args:
        a: A record, a folder of one policy's runs, or a selection of layers in a folder, such as
            ``15@runs``.
        b: The candidate, likewise: differences are B - A.
        phase: Evaluation of both, or of A and of B, such as ``base,final``; None for ``final``, and
            ``base`` of what was not trained.

    Raises:
        UserError: A side is not there or not one policy, or the two played other tasks.
    """
    from layerbench.benchmarks.comparison import pairing

    return pairing.compare(str(a), str(b), phases=phase.split(",") if phase else ())


def _require_some(paths: Sequence[AnyPath]) -> None:
    if not paths:
        raise SettingsError("no folder given: name folders of runs, or records")


def _data_frame() -> "Callable[[list[dict[str, Any]]], pd.DataFrame]":
    try:
        import pandas as pd  # pyright: ignore[reportMissingTypeStubs]
    except ModuleNotFoundError as error:
        # Any other missing module is a bug, which no extra mends.
        if error.name != "pandas":
            raise
        raise SettingsError(
            "a data frame needs pandas: pip install 'layerbench[pandas]', or give as_dicts=True"
        ) from error
    return pd.DataFrame
