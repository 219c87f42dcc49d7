"""Finds an environment's ``SPEC`` by what a user types: a name, ``module:NAME`` or a file.

What is found is imported here, so that code that is not layerbench's own must be looked up in a
process of its own; ``layerbench.envs.registry`` does that.
"""

import dataclasses
import difflib
import functools
import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from layerbench.envs import failures
from layerbench.envs.choices import nearest
from layerbench.envs.spec import EnvSpec
from layerbench.errors import UserError

GROUP = "layerbench.environments"
"""Entry points of packages: each a ``SPEC``, or a function that makes one from a text.

Such a function is called with what stands after the colon: ``textarena:Sokoban-v0``.
"""

_SPEC = "SPEC"
_NO_IMPORT = " cannot be imported"
_UNKNOWN_FIELD = re.compile(r"EnvSpec\.__init__\(\) got an unexpected keyword argument '(\w+)'")
_OWN = "layerbench"
_GIVEN: dict[str, "Loaded"] = {}


class UnknownEnvironmentError(UserError):
    """Nothing is found where an environment was looked for."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A ``SPEC`` that was imported.

    Attributes:
        spec: The spec.
        name: Name of the environment.
        module: Name of the module that it was found in.
        file: The file, where it was found by its path; else None.
    """

    spec: EnvSpec
    name: str
    module: str
    file: Path | None = None

    @property
    def gym_id(self) -> str:
        """The versioned Gymnasium id.

        Raises:
            UserError: The name cannot be part of one.
        """
        if self.spec.gym_id:
            return self.spec.gym_id
        versioned = re.search(r"-v\d+$", self.name) and not self.spec.version
        return self.name if versioned else f"{self.name}-v{self.spec.version}"


def is_file(reference: str) -> bool:
    """Tell whether a reference is the path of a file, perhaps with ``:NAME``.

    >>> [is_file(text) for text in ("alfworld", "./mine.py", "mine.py:Mine", "package.mine:SPEC")]
    [False, True, True, False]
    """
    path = _split_path(reference)[0]
    # What a package is asked for may be a path as well: `textworld:./game.z8`.
    if not path.endswith(".py") and path.partition(":")[0] in _own_entry_points():
        return False
    return path.endswith(".py") or "/" in path or path.startswith((".", "~"))


def canonical(reference: str) -> str:
    """Write a reference so that it means the same in another folder: paths become absolute.

    What a package has registered has the name that it is registered by.

    >>> canonical("alfworld"), canonical("layerbench.envs.keydoor.spec:SPEC")
    ('alfworld', 'keydoor')
    """
    if not is_file(reference):
        return _registered(reference)
    name = _split_path(reference)[1]
    return str(file_of(reference)) + (f":{name}" if name else "")


def _registered(reference: str) -> str:
    name, colon, _ = reference.partition(":")
    # What a family finds is registered by no name of its own.
    if not colon or reference in _GIVEN or name in _own_entry_points():
        return reference
    names = (name for name, point in installed().items() if point.value == reference)
    return next(names, reference)


def file_of(reference: str) -> Path:
    """Give the file of a reference that names one."""
    return Path(_split_path(reference)[0]).expanduser().resolve()


def check_exists(reference: str) -> None:
    """Refuse a name or file that is not there, without importing anything.

    Raises:
        UnknownEnvironmentError: There is none; the message says how to add one.
    """
    if reference.endswith(":"):
        raise UnknownEnvironmentError(
            f"'{reference}' has no name behind its colon: leave the colon out, or name what is in "
            f"{reference.rstrip(':')}"
        )
    if is_file(reference):
        path, shown = file_of(reference), _split_path(reference)[0]
        if path.is_dir():
            raise UnknownEnvironmentError(
                f"{shown} is a folder: name the file in it, which ends in .py"
            )
        if not path.is_file():
            raise UnknownEnvironmentError(
                f"there is no file {shown}: `layerbench envs new {_file_name(path.stem)}` "
                "writes one"
            )
        if path.suffix != ".py":
            raise UnknownEnvironmentError(f"{shown} is no Python file: its name must end in .py")
    elif ":" not in reference and reference not in installed():
        hint = nearest(reference, sorted(installed()))
        raise UnknownEnvironmentError(
            f"no environment named '{reference}': {hint}{' A' if hint.endswith('?') else '; a'} "
            "file of your own is named by its path (./mine.py), and `layerbench envs new "
            f"{_file_name(reference)}` writes one"
        )


@contextmanager
def given(env: EnvSpec | Callable[..., Any]) -> Generator[str]:
    """Give a reference to a spec or class of this process, which holds within the block.

    Such an environment is played here: no other process could import it.
    """
    spec = env if isinstance(env, EnvSpec) else EnvSpec(env=env)
    made_by = spec.callable_of("env")
    name = spec.name or re.sub(r"\W", "_", getattr(made_by, "__name__", "")) or "given"
    reference = f"given:{len(_GIVEN)}:{name}"
    _GIVEN[reference] = Loaded(spec, name, getattr(made_by, "__module__", ""))
    try:
        yield reference
    finally:
        del _GIVEN[reference]


def is_given(reference: str) -> bool:
    """Tell whether a reference is to a spec or class of this process."""
    return reference in _GIVEN


def own_names() -> tuple[str, ...]:
    """List the environments that are part of this package."""
    return tuple(sorted(own_specs()))


@functools.cache
def own_specs() -> Mapping[str, EnvSpec]:
    """Import the specs of this package's own environments, by name."""
    # The others, functions that find an environment of a package, are imported when they are used.
    points = _own_entry_points().items()
    return {name: point.load() for name, point in points if point.attr == _SPEC}


def installed() -> Mapping[str, metadata.EntryPoint]:
    """List the entry points of all installed packages by name, without importing any.

    Raises:
        UserError: Two packages use one name.
    """
    points: dict[str, metadata.EntryPoint] = {}
    for point in sorted(metadata.entry_points(group=GROUP), key=lambda point: point.value):
        other = points.get(point.name)
        if point.name not in _own_entry_points() and other and other.value != point.value:
            raise UserError(
                f"two packages have an environment named '{point.name}': take "
                f"{other.value} or {point.value}"
            )
        points[point.name] = point
    return {**points, **_own_entry_points()}


def load(reference: str) -> Loaded:
    """Import what a reference means, in this process.

    Raises:
        UserError: There is nothing of that name, or it is no environment.
    """
    if reference in _GIVEN:
        return _GIVEN[reference]
    if reference in own_specs():
        return _checked(own_specs()[reference], reference, _own_entry_points()[reference].module)
    return _load_again(reference)


# One import a process: a second one of a file would make its classes twice.
@functools.cache
def _load_again(reference: str) -> Loaded:
    check_exists(reference)
    if is_file(reference):
        return _load_file(reference)
    reference = _registered(reference)
    name, colon, argument = reference.partition(":")
    point = installed().get(name)
    if point is not None:
        found = _carefully(point.load, f"environment '{name}' cannot be imported")
        if colon and not isinstance(found, EnvSpec) and callable(found):
            spec = _carefully(lambda: found(argument), f"{reference} cannot be found")
            return _checked(spec, reference, point.module)
        if not colon and isinstance(found, EnvSpec):
            return _checked(found, name, point.module)
        # What else is in a module of that name.
        if not colon or name in _own_entry_points() or not isinstance(found, EnvSpec):
            form = f"{name}:NAME" if callable(found) else name
            raise UnknownEnvironmentError(f"no environment named '{reference}': it is named {form}")
    try:
        is_there = importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        is_there = False
    if not is_there:
        close = difflib.get_close_matches(name, installed(), n=1)
        hint = f"; did you mean {close[0]}:{argument}?" if close else ""
        raise UnknownEnvironmentError(
            f"no environment named '{reference}': there is no module or package '{name}' to import "
            f"it from{hint}"
        )
    module = _carefully(lambda: importlib.import_module(name), f"{name} cannot be imported")
    return _found_in(module, argument, reference, default=name.rpartition(".")[2])


def unknown(name: str) -> str:
    """Say that there is no environment of a name, and how to add one."""
    return (
        f"no environment named '{name}': {nearest(name, sorted(installed()))}; a file of your own "
        f"is named by its path, and `layerbench envs new {_file_name(name)}` writes one"
    )


def _file_name(name: str) -> str:
    return re.sub(r"\W", "_", name)[:40] or "mine"


def _load_file(reference: str) -> Loaded:
    path_text, name = _split_path(reference)
    path = file_of(reference)
    # A file may be called as a module that is needed.
    is_taken = path.stem in sys.modules or path.stem in sys.stdlib_module_names
    module_name = f"environment_{path.stem}" if is_taken else path.stem
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    loader = spec.loader
    # As for a script: what lies beside the file can be imported, and wins.
    sys.path.insert(0, str(path.parent))
    sys.modules[module_name] = module
    _carefully(lambda: loader.exec_module(module), f"{path_text} cannot be imported")
    found = _found_in(module, name, reference, default=path.stem)
    return dataclasses.replace(found, file=path)


def _found_in(module: ModuleType, name: str, reference: str, *, default: str) -> Loaded:
    """Take a spec or class from a module by its name; by default ``SPEC``, or the only class."""
    classes = {n: value for n, value in vars(module).items() if _is_env_of(value, module)}
    by_name = name not in ("", _SPEC)
    if name and not hasattr(module, name):
        specs = [n for n, value in vars(module).items() if isinstance(value, EnvSpec)]
        hint = nearest(name, sorted({*classes, *specs})) if classes or specs else "it has none"
        raise UnknownEnvironmentError(f"{reference} has no environment named '{name}': {hint}")
    if not name and not hasattr(module, _SPEC) and len(classes) != 1:
        many = f"and {len(classes)} classes of a gymnasium.Env: name one, as in {reference}:NAME"
        raise UnknownEnvironmentError(
            f"{reference} has no SPEC {many if classes else 'and no class of a gymnasium.Env'}"
        )
    name = name or (_SPEC if hasattr(module, _SPEC) else next(iter(classes)))
    value = getattr(module, name)
    if not isinstance(value, EnvSpec) and callable(value):
        value = EnvSpec(env=cast(Callable[..., Any], value))
    return _checked(value, name if by_name else default, module.__name__)


def _checked(spec: object, name: str, module: str) -> Loaded:
    if not isinstance(spec, EnvSpec):
        raise UserError(f"{name} is {spec!r:.80}, not a layerbench.EnvSpec")
    # A file may have a name that no Gymnasium id, folder or table can.
    return Loaded(spec, spec.name or re.sub(r"[^A-Za-z0-9_.:-]", "_", name), module)


def _is_env_of(value: object, module: ModuleType) -> bool:
    # By name, as gymnasium takes a third of a second to import.
    return (
        inspect.isclass(value)
        and value.__module__ == module.__name__
        and any(
            f"{base.__module__}.{base.__name__}" == "gymnasium.core.Env" for base in value.mro()
        )
    )


def _carefully(act: Callable[[], Any], failing: str) -> Any:  # noqa: ANN401 - as the call gives it
    try:
        return act()
    except UnknownEnvironmentError:
        raise
    # Such as that of a SPEC with a wrong value.
    except UserError as error:
        what = failing.removesuffix(_NO_IMPORT) if str(error).startswith("SPEC: ") else failing
        raise UserError(f"{what}: {error}") from error
    # Whatever a stranger's code raises, sys.exit() included.
    except (Exception, SystemExit) as error:
        if field := _UNKNOWN_FIELD.search(str(error)):
            known = [field.name for field in dataclasses.fields(EnvSpec)]
            close = difflib.get_close_matches(field[1], known, n=1, cutoff=0.5)
            hint = f"did you mean '{close[0]}'? " if close else ""
            raise UserError(
                f"{failing.removesuffix(_NO_IMPORT)}: SPEC: no field named '{field[1]}': {hint}It "
                f"has {', '.join(known)}"
            ) from error
        raise UserError(f"{failing}: {failures.one_line(error)}") from error


def _split_path(reference: str) -> tuple[str, str]:
    """Split the path of a file from the name in it."""
    path, colon, name = reference.rpartition(":")
    return (path, name) if colon and path.endswith(".py") else (reference, "")


@functools.cache
def _own_entry_points() -> Mapping[str, metadata.EntryPoint]:
    # Of one distribution, since to read those of all takes a tenth of a second.
    try:
        own = metadata.distribution(_OWN).entry_points.select(group=GROUP)
    except metadata.PackageNotFoundError:
        own = ()
    if not own:
        raise UserError(
            "layerbench is not installed here, or was before its code was updated, so that its "
            "environments are not known: install it again (pip install -e . in a checkout)"
        )
    return {point.name: point for point in own}
