"""Published problems: rows of HumanEval, MBPP, LiveCodeBench, DeepCoder and the like, as problems.

Each form is known by the fields that its rows have. What a row says is untrusted: its tests run in
the sandbox as programs do, and what is compressed is unpacked up to a bound.
"""

import ast
import base64
import builtins
import json
import pickletools
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from layerbench.envs.code.reading import code_of
from layerbench.envs.code.sandbox.verdicts import CallTests, ScriptTests, StreamTests, Tests
from layerbench.envs.data_files import is_unicode

Row = Mapping[str, Any]

_MOST_BYTES = 256 << 20
# Fields of other kinds than the form has; texts that are no JSON, or no Python.
_DAMAGES = (
    *(ValueError, TypeError, LookupError, AttributeError),
    *(SyntaxError, RecursionError, MemoryError, zlib.error),
)
_STRING_OPCODES = ("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8")
_OTHER_OPCODES = ("PROTO", "FRAME", "MEMOIZE", "BINPUT", "STOP")


class UnfitRowError(ValueError):
    """A row gives no problem that can be judged; the message says why, in a few words."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem.

    Attributes:
        text: What the model is told.
        tests: Its tests.
        task_type: Its kind, for scores by type.
        start: Code that a whole program begins with, such as imports and helpers.
        header: The code that a response which only continues it belongs to; empty if none may.
    """

    text: str
    tests: Tests
    task_type: str
    start: str = ""
    header: str = ""

    def program(self, response: str) -> str:
        """Read the program out of a response."""
        code = code_of(response)
        entry = "" if isinstance(self.tests, StreamTests) else self.tests.entry
        if self.header and not re.search(rf"^\s*def\s+{re.escape(entry)}\b", code, re.MULTILINE):
            return f"{self.header}{code}"
        return f"{self.start}{code}"


def problem_of(row: Row) -> Problem:
    """Read a row.

    Raises:
        UnfitRowError: It cannot be judged, or is of no known form.
    """
    for fields, read in _FORMS.items():
        if all(row.get(field) is not None for field in fields):
            try:
                problem = read(row)
                if not is_unicode(problem.text):
                    raise UnfitRowError("its text has half of a character")
                return problem
            except UnfitRowError:
                raise
            except _DAMAGES as error:
                reason = f"{type(error).__name__}: {error!s:.80}".partition("\n")[0]
                what = f"its fields {', '.join(fields)} or what belongs to them are damaged"
                raise UnfitRowError(f"{what} ({reason})") from error
    known = "; ".join(" + ".join(fields) for fields in _FORMS)
    raise UnfitRowError(f"it has fields {', '.join(sorted(row))[:200]}, and none of: {known}")


def name_of(row: Row) -> str:
    """Name a row by its own id; empty if it has none."""
    found = (row.get(field) for field in ("task_id", "question_id", "problem_id", "id"))
    text = next((str(value) for value in found if value not in (None, "")), "")
    return re.sub(r"[^\w./-]", "_", text)[:80]


def _human_eval(row: Row) -> Problem:
    prompt, entry = str(row["prompt"]), str(row["entry_point"])
    place = prompt.rfind(f"def {entry}(")
    if place < 0 or not entry.isidentifier():
        raise UnfitRowError("its prompt does not begin the function")
    setup = f"{prompt}\n    pass\n\n{row['test']}\n"
    return Problem(
        text=f"Complete this Python function; answer with all of it.\n\n{prompt}",
        tests=ScriptTests(entry, setup, ("check(candidate)",)),
        task_type="function",
        start=prompt[:place],
        header=prompt,
    )


def _mbpp(row: Row) -> Problem:
    tests = tuple(map(str, [*row["test_list"], *(row.get("challenge_test_list") or ())]))
    imports = row.get("test_imports") or ()
    setup = "\n".join([*map(str, imports), str(row.get("test_setup_code") or "")])
    if not tests:
        raise UnfitRowError("it has no tests")
    entry = _called(setup, tests)
    says = row.get("text") or row.get("prompt")
    return Problem(
        # One test, for the function's name and arguments; the others are hidden.
        text=f"{says}\n\nYour function has to pass this test, and others:\n{tests[0]}",
        tests=ScriptTests(entry, setup, tests),
        task_type="function",
        start=f"{setup}\n",
    )


def _called(setup: str, tests: Sequence[str]) -> str:
    """Find the one function that tests call and that nothing defines."""
    defined = {*dir(builtins)} | _bound(ast.parse(setup))
    missing: set[str] = set()
    for test in tests:
        tree = ast.parse(test)
        names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
        missing |= names - defined - _bound(tree)
    if len(missing) != 1:
        raise UnfitRowError("its tests need more than one function of the program")
    return missing.pop()


def _bound(tree: ast.AST) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            found |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.arg):
            found.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return found


def _live_code_bench(row: Row) -> Problem:
    listed = [*_parsed(row["public_test_cases"]), *_private(row.get("private_test_cases"))]
    metadata = _parsed(row.get("metadata") or "{}")
    tests = _listed_tests(listed, str(metadata.get("func_name") or ""))
    starter = str(row.get("starter_code") or "")
    return _asked(str(row["question_content"]), starter, tests, str(row.get("difficulty") or ""))


def _private(value: object) -> list[Any]:
    """Unpack LiveCodeBench's private tests: JSON, or that pickled, deflated and in base 64."""
    if not value:
        return []
    text = str(value)
    if text.lstrip().startswith("["):
        return _parsed(text)
    unpacker = zlib.decompressobj()
    content = unpacker.decompress(base64.b64decode(text), _MOST_BYTES)
    if unpacker.unconsumed_tail:
        raise UnfitRowError("its tests are too long")
    return _parsed(_pickled_text(content))


def _pickled_text(content: bytes) -> str:
    """Read a pickle that holds one text, without unpickling: a pickle can run any code."""
    texts: list[str] = []
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name in _STRING_OPCODES:
            texts.append(str(argument))
        elif opcode.name not in _OTHER_OPCODES:
            raise UnfitRowError("its private tests are a pickle of more than a text")
    if len(texts) != 1:
        raise UnfitRowError("its private tests are no pickled text")
    return texts[0]


def _deep_coder(row: Row) -> Problem:
    says = str(row.get("problem") or row.get("question"))
    tests = _parsed(row.get("tests") or row.get("input_output"))
    metadata = _parsed(row.get("metadata") or "{}")
    if isinstance(tests, dict):
        columns = cast(dict[str, Any], tests)
        entry = str(columns.get("fn_name") or "")
        pairs = zip(columns["inputs"], columns["outputs"], strict=True)
        listed = [{"input": given, "output": wanted} for given, wanted in pairs]
    else:
        listed = cast(list[dict[str, Any]], tests)
        entry = str(metadata.get("func_name") or "")
    return _asked(says, str(row.get("starter_code") or ""), _listed_tests(listed, entry), "")


def _parsed(value: object) -> Any:  # noqa: ANN401 - any JSON
    """Parse a field that is JSON, unless its file's form has done so."""
    return json.loads(value) if isinstance(value, str) else value


def _listed_tests(listed: Sequence[Mapping[str, Any]], entry: str) -> Tests:
    if not listed:
        raise UnfitRowError("it has no tests")
    first = listed[0]
    inner = _parsed(first.get("metadata") or {})
    entry = str(first.get("fn_name") or inner.get("func_name") or entry)
    kind = str(first.get("testtype") or first.get("type") or "")
    if not entry or kind in ("stdin", "stdin_stdout"):
        return StreamTests(tuple((_lines(t["input"]), _lines(t["output"])) for t in listed))
    if not entry.isidentifier():
        raise UnfitRowError("its function has no name")
    return CallTests(entry, tuple(_case(test["input"], test["output"]) for test in listed))


def _lines(value: object) -> str:
    return "\n".join(map(str, cast(list[object], value))) if isinstance(value, list) else str(value)


def _case(given: object, wanted: object) -> tuple[Sequence[Any], Sequence[Any]]:
    """Read a call: its arguments a list, or one JSON value a line."""
    if isinstance(given, str):
        given = [json.loads(line) for line in given.split("\n") if line.strip()]
    if not isinstance(given, list):
        raise UnfitRowError("its arguments are no list")
    right = [json.loads(wanted) if isinstance(wanted, str) and _is_json(wanted) else wanted]
    # Some forms put the value into a list of one, and do not say so.
    if isinstance(right[0], list) and len(cast(list[Any], right[0])) == 1:
        right.append(cast(list[Any], right[0])[0])
    return cast(list[Any], given), right


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _asked(says: str, starter: str, tests: Tests, task_type: str) -> Problem:
    if isinstance(tests, StreamTests):
        how = "Write a Python program that reads standard input and writes standard output."
    elif starter:
        how = f"Write it in Python, beginning with this:\n{starter}"
    else:
        entry = cast(CallTests, tests).entry
        how = f"Write it in Python, as a function named {entry}."
    kind = "script" if isinstance(tests, StreamTests) else "function"
    # Starters of class Solution name types that they do not import.
    imports = "from typing import *\n" if "class Solution" in starter else ""
    return Problem(f"{says}\n\n{how}", tests, task_type or kind, start=imports)


_FORMS: Mapping[tuple[str, ...], Callable[[Row], Problem]] = {
    ("prompt", "entry_point", "test"): _human_eval,
    ("text", "test_list"): _mbpp,
    ("prompt", "test_list"): _mbpp,
    ("question_content", "public_test_cases"): _live_code_bench,
    ("problem", "tests"): _deep_coder,
    ("question", "input_output"): _deep_coder,
}

COLUMNS = sorted(
    {field for fields in _FORMS for field in fields}
    | {"task_id", "question_id", "problem_id", "id", "challenge_test_list", "test_imports"}
    | {"test_setup_code", "private_test_cases", "metadata", "starter_code", "difficulty"}
)
"""Columns that are read of a table."""
