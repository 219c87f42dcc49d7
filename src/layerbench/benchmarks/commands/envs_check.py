"""``layerbench envs check``: whether an environment is sound, and a model can read it."""

import argparse
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from layerbench.benchmarks.commands.parser import DONE, FAILED, add_env, quieten_transformers

if TYPE_CHECKING:
    from layerbench.benchmarks.config.schema import RunConfig
    from layerbench.envs.checks.findings import Finding

_TIMEOUT_S = 60.0
_TIMEOUT = "env.timeout_s"
_SILENT_S = 3.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the environment, the model and the random player."""
    add_env(parser)
    parser.add_argument(
        "--model", metavar="M", help="say as well whether this model can read it, as for run"
    )
    parser.add_argument(
        "--play",
        metavar="N",
        type=int,
        default=0,
        help="fail if N episodes of random actions have no success",
    )


def run(args: argparse.Namespace, settings: list[str]) -> int:
    """Print what each check found; the status is 1 if one failed."""
    from layerbench.benchmarks.errors import SettingsError
    from layerbench.benchmarks.records.text import plain
    from layerbench.envs import references, registry
    from layerbench.envs.checks.findings import Finding
    from layerbench.envs.typed import remember

    if args.play < 0:
        raise SettingsError(f"--play must be at least 0, got {args.play}")
    if not registry.is_own(args.env):
        references.check_exists(args.env)
    timeout_s = _timeout(settings)
    remember(args.env)
    findings: list[Finding] = []
    progress = _Progress(timeout_s)
    try:
        findings += _all(args, settings, timeout_s, progress.begin)
    finally:
        progress.begin("")
    _print([Finding(f.check, f.verdict, plain(f.detail)) for f in findings])
    return FAILED if _count(findings) else DONE


def _all(
    args: argparse.Namespace, settings: list[str], timeout_s: float, begin: Callable[[str], None]
) -> "list[Finding]":
    """Check the environment, and then the model if one is named."""
    from layerbench.envs import references, registry
    from layerbench.envs.checks.findings import Finding, Verdict
    from layerbench.errors import UserError

    begin("its import")
    try:
        registry.find(args.env, timeout_s=timeout_s)
        # What its own SPEC sets: after this, a mistake is in what was typed.
        _composed(args.env, [])
    except references.UnknownEnvironmentError:
        raise
    except UserError as error:
        return [Finding("SPEC", Verdict.FAILS, str(error))]
    typed = [*settings, *([f"model.name={args.model}"] if args.model else [])]
    config = _composed(args.env, typed)
    findings = list(_checked(config, play=args.play, timeout_s=timeout_s, begin=begin))
    if args.model and not _count(findings):
        begin("the model")
        findings += _of_model(config)
    return findings


def _composed(env: str, typed: Sequence[str]) -> "RunConfig":
    from layerbench.benchmarks.runs import resolve

    return resolve.load_shared(env, typed, preset=None)


def _timeout(settings: Sequence[str]) -> float:
    """Take the time that was typed; that of runs is for machines that are busy."""
    from layerbench.benchmarks.config import compose
    from layerbench.benchmarks.errors import SettingsError

    typed = compose.values_of(settings, _TIMEOUT)
    try:
        return (float(typed[-1]) if typed else 0) or _TIMEOUT_S
    except ValueError as error:
        raise SettingsError(f"{_TIMEOUT} must be a number, got {typed[-1]}") from error


def _checked(
    config: "RunConfig", *, play: int, timeout_s: float, begin: Callable[[str], None]
) -> "Iterator[Finding]":
    from layerbench.agents.types import ActionMode
    from layerbench.envs import registry
    from layerbench.envs.checks import suite

    env = config.env
    counts = {env.train_split: config.train.tasks}
    counts |= dict.fromkeys(env.eval_splits, config.eval.tasks or None)
    plan = suite.Plan(
        env=registry.find(env.reference),
        options=env.options,
        counts=counts,
        or_fewer=True,
        max_turns=env.max_turns,
        timeout_s=timeout_s,
        play=play,
        chooses=config.agent.action_mode is ActionMode.CHOOSE,
    )
    yield from suite.check(plan, begin=begin)


def _of_model(config: "RunConfig") -> "Iterator[Finding]":
    from layerbench.envs.checks.findings import Finding, Verdict
    from layerbench.errors import UserError

    quieten_transformers()
    from layerbench.benchmarks.runs import model_fit

    try:
        yield from model_fit.check_model(config)
    except UserError as error:
        yield Finding("model", Verdict.FAILS, str(error))


def _count(findings: "Sequence[Finding]") -> int:
    return sum(finding.verdict == "fails" for finding in findings)


def _print(findings: "Sequence[Finding]") -> None:
    from layerbench.benchmarks.records import fitting
    from layerbench.benchmarks.records.fitting import Column, Table

    columns = {
        "check": Column("check", [finding.check for finding in findings]),
        "result": Column("result", [str(finding.verdict) for finding in findings]),
        "detail": Column("", [f.detail for f in findings], wrap_at=30, prose=True),
    }
    for line in fitting.table_lines(Table(columns), fitting.terminal_width(sys.stdout)):
        print(line)
    failed = _count(findings)
    remarks = sum(finding.verdict == "remark" for finding in findings)
    fitting.show(
        f"{failed} failed: mend the first, then check again"
        if failed
        else f"it can be trained on (remarks: {remarks})"
    )


class _Progress:
    """Says on stderr what is done: on a terminal at once, elsewhere if it takes a while.

    On a terminal it is a line that the next one replaces.

    Args:
        timeout_s: Longest time for an answer of the environment.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._timer: threading.Timer | None = None

    def begin(self, doing: str) -> None:
        """Say what is done from now on; nothing for an empty text."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if sys.stderr.isatty():
            self._write(f"\r\x1b[2K{f'checking: {doing}' if doing else ''}")
        if doing:
            until = f"checking: {doing}, which may take {self._timeout_s:g} s to answer"
            shown = f"\r\x1b[2K{until}" if sys.stderr.isatty() else f"{until}\n"
            self._timer = threading.Timer(_SILENT_S, self._write, [shown])
            self._timer.daemon = True
            self._timer.start()

    @staticmethod
    def _write(text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()
