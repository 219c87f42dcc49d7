"""``layerbench doctor``: what is installed, what was found, and how to get what is missing."""

import argparse
import dataclasses
import json
import sys
from pathlib import Path

from layerbench.benchmarks.commands.parser import DONE, FAILED

NAME = "doctor"
SUMMARY = "say what is installed and found here, and how to get what is missing"
EXAMPLES = """
  layerbench doctor
  layerbench doctor --json

It asks no network, and exits with 1 only if something is broken that every run needs."""
TAKES_SETTINGS = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the form of the report."""
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(args: argparse.Namespace, settings: list[str]) -> int:
    """Print what every probe found."""
    from layerbench.benchmarks.commands.doctor_probes import State, examine

    report: dict[str, list[dict[str, str]]] = {}
    broken = 0
    for heading, finding in examine(Path("runs")):
        broken += finding.state is State.BROKEN
        if not args.json:
            # As it is found: torch alone takes seconds to import.
            if heading not in report:
                _print_line(heading)
            advice = f": {finding.advice}" if finding.advice else ""
            _print_line(f"  {finding.state:8} {finding.name:17} {finding.found}{advice}")
        report.setdefault(heading, []).append(dataclasses.asdict(finding))
    if args.json:
        print(json.dumps({"broken": broken, **report}, indent=2))
    else:
        _print_line(f"{broken} broken" if broken else "nothing that every run needs is broken")
    return FAILED if broken else DONE


def _print_line(line: str) -> None:
    try:
        from layerbench.benchmarks.records import fitting
    # Without rich, say: this command is for installations in which things are missing.
    except ImportError:
        print(line)
    else:
        fitting.show(line, indent=29)
    sys.stdout.flush()
