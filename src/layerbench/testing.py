"""Checks for the tests of an environment of one's own: ``from layerbench.testing import ...``."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from layerbench.envs import references, registry
from layerbench.envs.checks import suite
from layerbench.envs.checks.findings import Finding, Verdict
from layerbench.envs.spec import EnvSpec


def check_environment(
    env: str | Path | EnvSpec | Callable[..., Any],
    *,
    options: Mapping[str, Any] | None = None,
    tasks: int = 8,
    max_turns: int | None = None,
    play: int = 0,
    timeout_s: float = 60.0,
) -> tuple[Finding, ...]:
    """Check an environment as ``layerbench envs check`` does, without a model.

    Args:
        env: A name, a file, ``module:NAME``, or an ``EnvSpec`` or class. The last two are played in
            this process, where a fault that two processes alone show stays hidden, such as the
            order of a set; all others in processes of their own.
        options: Options of the environment besides their defaults.
        tasks: Number of tasks of each split to list; all of a split that has fewer.
        max_turns: Actions after which an episode is truncated; None takes that of the SPEC.
        play: Episodes in which random actions have to succeed once; 0 asks for none.
        timeout_s: Longest time for an answer of the environment.

    Returns:
        What each check found; remarks are no failures.

    Raises:
        AssertionError: A check failed; the message names field, type, value and turn.
        UserError: There is no such environment, or its SPEC is wrong.
    """
    with ExitStack() as stack:
        reference = str(env) if isinstance(env, str | Path) else ""
        if not isinstance(env, str | Path):
            reference = stack.enter_context(references.given(env))
        found = registry.find(reference, timeout_s=timeout_s)
        plan = suite.Plan(
            env=found,
            options={**found.options, **(options or {})},
            counts=dict.fromkeys((found.train_split, *found.eval_splits), tasks),
            or_fewer=True,
            max_turns=max_turns or found.max_turns,
            timeout_s=timeout_s,
            play=play,
            chooses=found.settings.get("agent.action_mode", "choose") == "choose",
        )
        findings = tuple(suite.check(plan))
    failed = [finding for finding in findings if finding.verdict is Verdict.FAILS]
    if failed:
        raise AssertionError("\n".join(f"{found.check}: {found.detail}" for found in failed))
    return findings
