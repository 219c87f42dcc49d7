"""``layerbench panels``: the fixed lists of tasks that a policy can be scored on."""

import argparse

from layerbench.benchmarks.commands.parser import DONE

NAME = "panels"
SUMMARY = "list the fixed panels of tasks, with their protocols and hashes"
EXAMPLES = """
  layerbench panels
  layerbench panels alfworld-valid-seen
  layerbench eval alfworld --panel alfworld-gen-permuted-seen
  layerbench result runs/RUN"""
TAKES_SETTINGS = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the panel."""
    parser.add_argument("panel", metavar="NAME", nargs="?", help="show all of one, as JSON")


def run(args: argparse.Namespace, settings: list[str]) -> int:
    """List the panels, or show one."""
    import dataclasses
    import json

    from layerbench.benchmarks.config import panels
    from layerbench.benchmarks.records import fitting
    from layerbench.benchmarks.records.record_sections import at_temperature

    if args.panel is not None:
        print(json.dumps(dataclasses.asdict(panels.find(args.panel)), indent=1))
        return DONE
    for name, panel in panels.panels().items():
        fitting.show(
            f"{name:29} {panel.tasks} tasks, {panel.max_turns} turns, "
            f"{at_temperature(panel.temperature)}: {panel.about}",
            indent=30,
        )
        if panel.data:
            fitting.show(f"{'':29} needs {panel.data}", indent=30)
    return DONE
