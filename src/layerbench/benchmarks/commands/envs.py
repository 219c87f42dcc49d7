"""``layerbench envs``: which environments there are, a new one, and whether one is sound."""

import argparse
from pathlib import Path

from layerbench.benchmarks.commands import envs_check
from layerbench.benchmarks.commands.parser import DONE

NAME = "envs"
SUMMARY = "list the environments, write a new one, or check one"
EXAMPLES = """
  layerbench envs
  layerbench envs list minigrid           # all that there is of a package
  layerbench envs new my_env              # writes my_env.py, which runs as it is
  layerbench envs new my_env --package    # a folder that pip can install, with tests
  layerbench envs check ./my_env.py       # what is sound in it, and what is not
  layerbench envs check ./my_env.py --play 100 --model HuggingFaceTB/SmolLM2-135M-Instruct
  layerbench run ./my_env.py --layer 3"""
TAKES_SETTINGS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what is to be done."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    all_of = actions.add_parser("list", help="list the environments of a package")
    all_of.add_argument("family", metavar="FAMILY", help="such as minigrid")
    new = actions.add_parser("new", help="write an environment to start from")
    new.add_argument("name", metavar="NAME", help="in small letters, such as my_env")
    new.add_argument("--package", action="store_true", help="a folder that pip can install")
    check = actions.add_parser("check", help="say whether an environment is sound")
    envs_check.add_arguments(check)


def run(args: argparse.Namespace, settings: list[str]) -> int:
    """List, write or check."""
    from layerbench.benchmarks.errors import SettingsError

    if args.action == "check":
        return envs_check.run(args, settings)
    if settings:
        raise SettingsError(f"expected no settings, got '{settings[0]}'")
    if args.action == "new":
        return _new(args.name, is_package=args.package)
    return _list_family(args.family) if args.action == "list" else _list()


def _list() -> int:
    from layerbench.benchmarks.records import fitting
    from layerbench.envs import references
    from layerbench.envs.wrappers import families

    elsewhere = families.names()
    for name in sorted(references.installed().keys() - elsewhere):
        fitting.show(f"{name:10} {_line(name)}", indent=11)
    fitting.show("Of other packages; `layerbench envs list FAMILY` lists all of one:")
    for name in elsewhere:
        family = families.find(name).FAMILY
        lacking = f"; needs: {family.missing()}" if family.missing() else ""
        fitting.show(f"{name}:{family.example}  {family.about}{lacking}", indent=4)
    fitting.show(
        "One of your own: `layerbench envs new my_env`, then `layerbench run ./my_env.py --layer 3`"
    )
    return DONE


def _list_family(name: str) -> int:
    from layerbench.benchmarks.records import fitting
    from layerbench.envs.wrappers import families

    module = families.find(name)
    for argument, about in module.listing():
        fitting.show(f"{name}:{argument}  {about}", indent=4)
    if module.FAMILY.missing():
        fitting.show(f"These need: {module.FAMILY.missing()}")
    return DONE


def _line(name: str) -> str:
    from layerbench.benchmarks.runs import resolve
    from layerbench.envs import registry
    from layerbench.errors import UserError

    try:
        found, env = registry.find(name), resolve.load(name).env
    except UserError as error:
        return f"cannot be used: {error}"
    return (
        f"{found.gym_id:25} {env.max_turns:3} turns  trained on {env.train_split}, scored on "
        f"{', '.join(env.eval_splits)}"
    )


def _new(name: str, *, is_package: bool) -> int:
    from layerbench.benchmarks.records import fitting
    from layerbench.envs import scaffold

    if is_package:
        path = scaffold.write_package(name, Path())
        run_as, steps = name, [f"pip install -e {path}"]
    else:
        path = scaffold.write_file(name, Path())
        run_as, steps = f"./{path}", list[str]()
    fitting.show(f"wrote {path}; next:")
    for step in (
        *steps,
        f"layerbench envs check {run_as}",
        f"layerbench play {run_as}",
        f"layerbench run {run_as} --layer 3 --preset quick",
    ):
        fitting.show(f"  {step}", indent=4)
    return DONE
