"""``layerbench play``: an episode for a human player in the terminal."""

import argparse

from layerbench.benchmarks.commands.parser import DONE, add_env

NAME = "play"
SUMMARY = "play in the terminal"
EXAMPLES = """
  layerbench play alfworld
  layerbench play alfworld --task 7 --split unseen
  layerbench play keydoor env.num_keys=2"""
TAKES_SETTINGS = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the environment and the task."""
    add_env(parser)
    parser.add_argument(
        "--split", metavar="NAME", help="of the tasks; what is trained on if not given"
    )
    parser.add_argument(
        "--task", metavar="N", type=int, default=1, help="number of the task, from 1"
    )
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of the list of tasks")


def run(args: argparse.Namespace, settings: list[str]) -> int:
    """Play one episode."""
    from layerbench.benchmarks.commands.play_episode import find_task, play_episode
    from layerbench.benchmarks.config.schema import SEED
    from layerbench.benchmarks.errors import SettingsError
    from layerbench.benchmarks.runs import resolve
    from layerbench.envs import registry

    if requirement := SEED.requirement(args.seed):
        raise SettingsError(f"--seed must be {requirement}, got {args.seed}")
    # Without layers to train, the check lets any split be played, the training split included.
    env = resolve.load(args.env, [*settings, "layers=none"]).env
    found = registry.find(env.reference)
    task = find_task(
        found,
        split=args.split or env.train_split,
        number=args.task,
        seed=args.seed,
        options=env.options,
        timeout_s=env.patience_s,
    )
    play_episode(
        found,
        task,
        options=env.options,
        max_turns=env.max_turns,
        timeout_s=env.timeout_s,
        read=input,
        write=_write,
    )
    return DONE


def _write(text: str) -> None:
    """Print text of the environment, whose control characters must not reach a terminal."""
    from layerbench.benchmarks.records import fitting
    from layerbench.benchmarks.records.text import plain

    fitting.show(*(plain(line) for line in text.split("\n")), indent=4)
