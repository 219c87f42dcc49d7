"""Decides whether a program passes tests: outside of the process that runs it.

The program's process is sent arguments and input, and gives values and output as plain data. What
is expected stays here, or, where tests are written in Python, in a second sandbox that runs them.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from layerbench.envs.code.sandbox.guest import decode, encode
from layerbench.envs.code.sandbox.guests import Guest, GuestLostError, Pool

_CALLS_FACTOR = 6
_MOST_CALLS = 10_000
_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a test may take.

    Attributes:
        cpu_s: Processor time of one test; of all calls of a function together, six times as much.
        wall_s: Wall time: longer, since verdicts should not depend on who else computes.
    """

    cpu_s: int = 10
    wall_s: float = 40.0


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class CallTests:
    """Calls of a function, and the values they return.

    Attributes:
        entry: Name of the function, or of a method of the class ``Solution``.
        cases: Arguments of each call, and the values that are right, as plain data.
    """

    entry: str
    cases: tuple[tuple[Sequence[Any], Sequence[Any]], ...]


@dataclass(frozen=True, slots=True)
class StreamTests:
    """Texts that a script reads, and what it writes.

    Attributes:
        cases: Input and output of each run.
    """

    cases: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ScriptTests:
    """Tests written in Python, which call a function.

    Attributes:
        entry: Name of the function; the tests also know it as ``candidate``.
        setup: Code to run before the tests.
        tests: Code of each test, which raises an exception if it fails.
    """

    entry: str
    setup: str
    tests: tuple[str, ...]


Tests = CallTests | StreamTests | ScriptTests


@dataclass(frozen=True, slots=True)
class Verdict:
    """How far a program came; it stops at the first test that fails.

    Attributes:
        passed: Tests that it passed.
        total: All tests.
        reason: Why it stopped, in a word: ``wrong``, ``error``, ``time``, ``ended``, ``output``.
        is_undecided: The tests themselves did not come to an end; the program may be right.
    """

    passed: int
    total: int
    reason: str = ""
    is_undecided: bool = False

    @property
    def is_right(self) -> bool:
        """Whether all tests passed, of which there is at least one."""
        return self.passed == self.total > 0


def judge(pool: Pool, program: str, tests: Tests, limits: Limits = DEFAULT_LIMITS) -> Verdict:
    """Run a program on tests, in a sandbox of its own.

    Raises:
        SandboxError: No sandbox can be started any more.
    """
    with pool.guest() as guest:
        asked = _Asked(guest, limits)
        if isinstance(tests, StreamTests):
            return _streams(asked, program, tests)
        try:
            _make_function(asked, program, tests)
        except GuestLostError as lost:
            return Verdict(0, count(tests), str(lost))
        if isinstance(tests, CallTests):
            return _calls(asked, tests)
        with pool.guest() as judging:
            return _script(asked, _Asked(judging, limits), tests)


class _Asked:
    """A guest, with the time that it has for each message."""

    def __init__(self, guest: Guest, limits: Limits) -> None:
        self.limits = limits
        self._guest = guest

    def tell(self, message: Mapping[str, object]) -> None:
        self._guest.tell(message, timeout_s=self.limits.wall_s)

    def hear(self) -> dict[str, Any]:
        return self._guest.hear(timeout_s=self.limits.wall_s)

    def call(self, request: Mapping[str, object]) -> object:
        """Ask for a value; what comes back is checked to be one, and given as it came."""
        self.tell(request)
        reply = self.hear()
        if "value" not in reply:
            raise GuestLostError("error")
        try:
            decode(reply["value"])
        except (ValueError, TypeError, RecursionError):
            raise GuestLostError("reply") from None
        return reply["value"]


def count(tests: Tests) -> int:
    """Count tests."""
    return len(tests.tests if isinstance(tests, ScriptTests) else tests.cases)


def _make_function(guest: _Asked, program: str, tests: CallTests | ScriptTests) -> None:
    job = {
        "kind": "function",
        "code": program,
        "entry": tests.entry,
        "cpu_s": guest.limits.cpu_s * _CALLS_FACTOR,
    }
    guest.tell(job)
    if guest.hear() != {"ready": True}:
        raise GuestLostError("error")


def _until_first_failure(total: int, passes: Callable[[int], bool]) -> Verdict:
    for number in range(total):
        try:
            if not passes(number):
                return Verdict(number, total, "wrong")
        except GuestLostError as lost:
            return Verdict(number, total, str(lost))
    return Verdict(total, total)


def _calls(guest: _Asked, tests: CallTests) -> Verdict:
    def passes(number: int) -> bool:
        arguments, right = tests.cases[number]
        value = decode(guest.call({"args": encode(list(arguments))}))
        return any(same_value(value, expected) for expected in right)

    return _until_first_failure(len(tests.cases), passes)


def _streams(guest: _Asked, program: str, tests: StreamTests) -> Verdict:
    job = {"kind": "stream", "code": program, "cpu_s": guest.limits.cpu_s}

    def passes(number: int) -> bool:
        given, expected = tests.cases[number]
        if number == 0:
            guest.tell(job)
        guest.tell({"stdin": given})
        reply = guest.hear()
        text, status = reply.get("stdout"), reply.get("status")
        if not isinstance(text, str) or status != 0:
            # The kernel's signal at the end of the processor time: SIGXCPU or SIGKILL.
            raise GuestLostError("time" if status in (-24, -9) else "error")
        return same_output(text, expected)

    return _until_first_failure(len(tests.cases), passes)


def _script(guest: _Asked, judging: _Asked, tests: ScriptTests) -> Verdict:
    """Let tests run in one sandbox, and answer their calls out of the program's."""
    total, reason = len(tests.tests), "wrong"
    job = {
        **{"kind": "tests", "setup": tests.setup, "entry": tests.entry, "tests": tests.tests},
        "cpu_s": guest.limits.cpu_s * _CALLS_FACTOR,
    }
    try:
        judging.tell(job)
        for _ in range(_MOST_CALLS):
            message = judging.hear()
            if "call" not in message:
                passed = message.get("passed")
                if type(passed) is not int:
                    raise GuestLostError("reply")
                return Verdict(passed, total, "" if passed == total else reason)
            try:
                answer: dict[str, object] = {"value": guest.call(message["call"])}
            except GuestLostError as lost:
                # The tests end by it, and say how many had passed before.
                answer, reason = {}, str(lost)
            judging.tell(answer)
    except GuestLostError as lost:
        return Verdict(0, total, str(lost), is_undecided=True)
    return Verdict(0, total, "calls", is_undecided=True)


def same_value(found: Any, expected: Any) -> bool:  # noqa: ANN401 - plain data
    """Compare plain data: tuples count as lists, and floats as equal if they nearly are.

    >>> same_value((1, [0.1 + 0.2]), [1, [0.3]]), same_value(1, "1"), same_value(True, 1)
    (True, False, False)
    """
    if isinstance(found, bool) or isinstance(expected, bool):
        return found is expected
    if isinstance(found, float) or isinstance(expected, float):
        return _nearly(found, expected)
    if isinstance(found, list | tuple) and isinstance(expected, list | tuple):
        pairs = zip(cast(Sequence[Any], found), cast(Sequence[Any], expected), strict=False)
        is_as_long = len(cast(Sequence[Any], found)) == len(cast(Sequence[Any], expected))
        return is_as_long and all(same_value(*pair) for pair in pairs)
    if isinstance(found, dict) and isinstance(expected, dict):
        first, second = cast(dict[Any, Any], found), cast(dict[Any, Any], expected)
        return first.keys() == second.keys() and all(
            same_value(first[key], second[key]) for key in first
        )
    is_of_kind = type(found) is type(expected)  # pyright: ignore[reportUnknownArgumentType]
    return is_of_kind and bool(found == expected)


def _nearly(found: Any, expected: Any) -> bool:  # noqa: ANN401 - plain data
    if not isinstance(found, int | float) or not isinstance(expected, int | float):
        return False
    try:
        return math.isclose(found, expected, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
    except OverflowError:
        return False


def same_output(found: str, expected: str) -> bool:
    r"""Compare texts line by line, without spaces at ends; decimal fractions as ``same_value``.

    >>> same_output("1 2\n0.30000001 \n\n", "1 2\n0.3"), same_output("12", "1 2")
    (True, False)
    """
    lines, wanted = ([line.strip() for line in t.strip().split("\n")] for t in (found, expected))
    return len(lines) == len(wanted) and all(
        line == right or _same_tokens(line.split(), right.split())
        for line, right in zip(lines, wanted, strict=True)
    )


def _same_tokens(tokens: Sequence[str], wanted: Sequence[str]) -> bool:
    return len(tokens) == len(wanted) and all(
        token == right or ("." in right and _nearly(_number(token), _number(right)))
        for token, right in zip(tokens, wanted, strict=True)
    )


def _number(token: str) -> float | None:
    try:
        return float(token)
    except ValueError:
        return None
