"""``layerbench envs``: the list of environments."""

import argparse

from layerbench.benchmarks.commands.parser import DONE

NAME = "envs"
SUMMARY = "list the environments"
EXAMPLES = """
  layerbench envs"""
TAKES_SETTINGS = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare no arguments."""


def run(args: argparse.Namespace, settings: list[str]) -> int:
    """Print a line for each environment."""
    from layerbench.benchmarks.records import fitting
    from layerbench.benchmarks.runs import resolve
    from layerbench.envs import references, registry

    for name, found in [(name, registry.find(name)) for name in references.own_names()]:
        env = resolve.load(name).env
        fitting.show(
            f"{name:10}{found.gym_id:26}{found.max_turns:3} turns  "
            f"trained on {env.train_split}, scored on {', '.join(env.eval_splits)}",
            indent=10,
        )
    return DONE
