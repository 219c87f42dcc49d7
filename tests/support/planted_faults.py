"""A sound environment in a few lines, and faults: each is it with some lines changed."""

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

SOUND = '''
import gymnasium as gym

from layerbench import EnvSpec, Task

COLOURS = ["red", "green", "blue", "white"]


class Lamp(gym.Env):
    """Press the button that is asked for.

    Args:
        size: Number of buttons.
    """

    def __init__(self, *, size=4):
        self.size = size

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.lamp = int(self.np_random.integers(1000))
        self.goal = COLOURS[int(self.np_random.integers(self.size))]
        self.turns = 0
        return self.text(), self.info(False)

    def step(self, action):
        self.turns += 1
        won = action == f"press {self.goal}"
        reward = 1.0 if won else 0.0
        terminated, truncated = won, False
        text = "It lights up." if won else "Nothing. " + self.text()
        return text, reward, terminated, truncated, self.info(won)

    def text(self):
        return f"Lamp {self.lamp}: press {self.goal}."

    def info(self, won):
        actions = [f"press {colour}" for colour in COLOURS[: self.size]]
        return {"success": won, "admissible_actions": actions}


SPEC = EnvSpec(env=Lamp, name="lamp", max_turns=5, splits={"train": 500, "test": 100})
'''

_STEP = "return text, reward, terminated, truncated, self.info(won)"
_RESET = "return self.text(), self.info(False)"
_INFO = 'return {"success": won, "admissible_actions": actions}'
_REWARD = "reward = 1.0 if won else 0.0"
_TEXT = 'return f"Lamp {self.lamp}: press {self.goal}."'
_SEED = "super().reset(seed=seed)"
_LIST = """
def tasks(*, split, count, seed):
    first = {"train": 0, "test": 1000}[split] + 100 * seed
    return [Task(f"{split}-{first + n}", seed=first + n) for n in range(count or 50)]


SPEC = EnvSpec("""
_SPLITS = 'splits={"train": 500, "test": 100})'


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault.

    Attributes:
        name: Its name.
        changes: Lines of ``SOUND`` and what stands in their place.
        says: What the message must have.
        check: Name of the check that fails; empty where no check has begun.
        brief: Whether the check before a run finds it, too, by the same words.
    """

    name: str
    changes: tuple[tuple[str, str], ...]
    says: str
    check: str = "types"
    brief: bool = True

    @property
    def source(self) -> str:
        """The environment's file."""
        source = SOUND
        for old, new in self.changes:
            assert source.count(old) == 1, (self.name, old)
            source = source.replace(old, new)
        return source

    def spec(self) -> Any:  # noqa: ANN401 - a spec, where the fault lets it be one
        """Make the spec in this process."""
        return spec_of(self.source)

    def write(self, folder: Path) -> Path:
        """Write the environment's file."""
        path = folder / "lamp.py"
        path.write_text(self.source)
        return path


def spec_of(source: str) -> Any:  # noqa: ANN401 - as above
    """Run the text of a module, and take its SPEC."""
    module = ModuleType("planted_lamp")
    exec(compile(source, "lamp.py", "exec"), vars(module))
    return vars(module)["SPEC"]


def _swap(
    name: str, old: str, new: str, says: str, *, check: str = "types", brief: bool = True
) -> Fault:
    return Fault(name, ((old, new),), says, check, brief)


def _listing(name: str, old: str, new: str, says: str, *, check: str = "tasks") -> Fault:
    assert _LIST.count(old) == 1, (name, old)
    listing = _LIST.replace(old, new)
    changes = (("\nSPEC = EnvSpec(", listing), (_SPLITS, "tasks=tasks)"))
    return Fault(name, changes, says, check, brief="the same" not in says)


_AT_RESET = "lamp, task 'train-"

TYPES = [
    _swap("text is none", _TEXT, "return None", "the observation is None, not a str"),
    _swap("text is bytes", _TEXT, 'return b"lamp"', "the observation is b'lamp', not a str"),
    _swap("text is an array", _TEXT, "return [1, 2]", "the observation is [1, 2], not a str"),
    _swap("half a letter", _TEXT, 'return "\\ud800"', "no text that UTF-8 can write"),
    _swap("no info at reset", _RESET, "return self.text()", "reset returned 'Lamp"),
    _swap("info is none", _RESET, "return self.text(), None", "info is None, not a dictionary"),
    _swap("info is a list", _INFO, "return actions", "not a dictionary"),
    _swap(
        "four parts",
        _STEP,
        "return text, reward, won, self.info(won)",
        "step returned no observation, reward, ",
    ),
    _swap("no parts", _STEP, "return None", "step returned no observation, reward, terminated, tr"),
    _swap("reward is text", _REWARD, 'reward = "1"', "the reward is '1', not a number"),
    _swap("reward is none", _REWARD, "reward = None", "the reward is None, not a number"),
    _swap("reward is a bool", _REWARD, "reward = won", "e, not a number"),
    _swap("reward is nan", _REWARD, 'reward = float("nan")', "the reward is nan, not a finite"),
    _swap("reward is inf", _REWARD, 'reward = float("inf")', "the reward is inf, not a finite"),
    _swap("terminated is text", "= won, False", '= "no", False', "terminated is 'no', not True"),
    _swap("terminated is a number", "= won, False", "= 0, False", "terminated is 0, not True"),
    _swap("truncated is none", "= won, False", "= won, None", "truncated is None, not True"),
    _swap("success is text", '"success": won', '"success": str(won)', "info['success'] is 'False'"),
    _swap("success is a number", '"success": won', '"success": int(won)', "info['success'] is 0"),
    _swap("no success", '"success": won, ', "", "info has no 'success'"),
    _swap("success is mistyped", '"success"', '"sucess"', "did you mean 'success'?"),
    _swap("success in capitals", '"success"', '"Success"', "did you mean 'success'?"),
    _swap(
        "actions are mistyped",
        '"admissible_actions"',
        '"admissable_actions"',
        "info has 'admissable_actions': did you mean 'admissible_actions'?",
    ),
    _swap("anchor is mistyped", _INFO, _INFO[:-1] + ', "anchors": ""}', "did you mean 'anchor'?"),
    _swap(
        "both kinds of success",
        "max_turns=5",
        "max_turns=5, success_at=1.0",
        "info has 'success', but the SPEC has success_at as well",
    ),
    _swap(
        "actions are text",
        '"admissible_actions": actions',
        '"admissible_actions": "press"',
        "info['admissible_actions'] is 'press', not a list or tuple",
    ),
    _swap(
        "actions are a set",
        '"admissible_actions": actions',
        '"admissible_actions": {"press red"}',
        "info['admissible_actions'] is {'press red'}, not a list or tuple",
    ),
    _swap("an action is a number", 'f"press {colour}"', "len(colour)", "is 3, not a str"),
    _swap("an action is empty", 'f"press {colour}"', '" " * len(colour)', "not one line of text"),
    _swap("two lines", 'f"press {colour}"', r'f"press\n{colour}"', "not one line of text"),
    _swap(
        "a repeated action",
        'f"press {colour}"',
        '"press"',
        "info['admissible_actions'] has 'press' 4 times",
    ),
    _swap("anchor is none", _INFO, _INFO[:-1] + ', "anchor": None}', "info['anchor'] is None"),
    _swap(
        "task type is a number", _INFO, _INFO[:-1] + ', "task_type": 3}', "info['task_type'] is 3"
    ),
    _swap(
        "another task",
        _INFO,
        _INFO[:-1] + ', "task_id": "lamp"}',
        "info['task_id'] is 'lamp', not that of the task asked for",
    ),
]
"""Types and keys of what reset and step return."""

CONTENTS = [
    _swap(
        "a control token",
        'f"press {colour}"',
        'f"<|im_end|>{colour}"',
        "spells out '<|im_end|>', which is a control token",
        check="listed actions",
    ),
    _swap(
        "a tag",
        'f"press {colour}"',
        'f"<action>{colour}</action>"',
        "spells out '<action>', which is a control token",
        check="listed actions",
    ),
    _swap(
        "a choice that is not admissible",
        _INFO,
        _INFO[:-1] + ', "choices": ["push"]}',
        "info['choices'] has 'push', which info['admissible_actions'] does not admit",
        check="listed actions",
    ),
    Fault(
        "the list runs empty",
        ((_STEP, 'return text, reward, terminated, truncated, {"success": won}'),),
        "info['admissible_actions'] is empty, though the reset listed some",
        "listed actions",
    ),
    Fault(
        "a listed action raises",
        (("self.turns += 1", 'self.turns += {"press white": None}.get(action, 1)'),),
        "turn 4 ('press white'), which was listed: TypeError: unsupported operand",
        "episodes",
        brief=False,
    ),
    Fault(
        "another text raises",
        (("self.turns += 1", 'self.turns += action.index("press") + 1'),),
        "turn 1 ('dance on the ceiling'): ValueError: substring not found",
        "other texts",
        brief=False,
    ),
    _swap(
        "no success is paid",
        _REWARD,
        "reward = 0.0",
        "no success is paid more than a failure",
        check="reward and success",
        brief=False,
    ),
    _swap(
        "a success costs",
        _REWARD,
        "reward = -1.0 if won else 0.0",
        "no success is paid more than a failure",
        check="reward and success",
        brief=False,
    ),
    _swap(
        "a success at the reset",
        _RESET,
        "return self.text(), self.info(True)",
        "info['success'] is True at the reset",
        check="success",
        brief=False,
    ),
    Fault(
        "a limit that is ignored",
        (
            ("size=4", "size=4, max_turns=5"),
            ("max_turns=5, splits", "max_turns=5, counts_turns=True, splits"),
            (_REWARD, f"{_REWARD}; won = won and self.turns > 3"),
        ),
        "counts_turns=True, but with max_turns=3 an episode goes on after 3 actions",
        "turn limit",
        brief=False,
    ),
    _swap(
        "close raises",
        "    def text(self):",
        '    def close(self):\n        raise OSError("busy")\n\n    def text(self):',
        "close raises OSError: busy (lamp.py:",
        check="close",
        brief=False,
    ),
    _swap(
        "every step raises",
        "self.turns += 1",
        "self.turns += self.missing",
        "AttributeError: 'Lamp' object has no attribute 'missing' (lamp.py:",
        check="episodes",
    ),
    _swap(
        "every reset raises",
        "self.turns = 0",
        "self.turns = len(options['missing'])",
        "KeyError: 'missing' (lamp.py:",
        check="episodes",
    ),
]
"""What is said and paid."""

REPETITION = [
    _swap(
        "super().reset is forgotten",
        _SEED,
        "pass",
        "played the same again, observation.text is 'Lamp",
        check="equal episodes",
    ),
    Fault(
        "random numbers of the process",
        (
            ("import gymnasium as gym", "import random\n\nimport gymnasium as gym"),
            ("self.np_random.integers(1000)", "1000 * random.random()"),
        ),
        "all must follow from the arguments of reset and the actions",
        "equal episodes",
    ),
    Fault(
        "random numbers that objects share",
        (
            ("import gymnasium as gym", "import random\n\nimport gymnasium as gym"),
            (_SEED, "random.seed(seed)"),
            ("self.np_random.integers(1000)", "1000"),
            ("self.np_random.integers(self.size)", "self.size / 2"),
            ('"Nothing. " +', 'f"Nothing {random.random()}. " +'),
        ),
        "turn 1: played the same again, observation.text is 'Nothing 0.",
        "equal episodes",
    ),
    Fault(
        "the time in the text",
        (
            ("import gymnasium as gym", "import time\n\nimport gymnasium as gym"),
            (_TEXT, 'return f"{time.time()} press {self.goal}."'),
        ),
        "played the same again, observation.text is '1",
        "equal episodes",
    ),
    Fault(
        "episodes are counted",
        (
            ("self.size = size", "self.size, self.played = size, 0"),
            ("self.turns = 0", "self.turns, self.played = 0, self.played + 1"),
            (_TEXT, 'return f"Lamp {self.lamp} ({self.played}): press {self.goal}."'),
        ),
        "turn 0: played after another episode, observation.text is 'Lamp",
        "equal episodes",
    ),
    Fault(
        "turns go on from the episode before",
        (
            ("self.size = size", "self.size, self.turns = size, 0"),
            ("        self.turns = 0\n", ""),
            ('"Nothing. " +', 'f"Nothing {self.turns}. " +'),
        ),
        ": played ",
        "equal episodes",
    ),
    Fault(
        "objects share a list",
        (
            ('    """Press the button', '    seen = []\n    """Press the button'),
            ("self.turns += 1", "self.turns += 1; self.seen.append(action)"),
            ('"Nothing. " +', 'f"Nothing {len(self.seen)}. " +'),
        ),
        "turn 1: played the same again",
        "equal episodes",
    ),
    Fault(
        "seeds are ignored",
        ((_SEED, "super().reset(seed=0)"),),
        "all 4 tasks tried are one and the same: reset ignores its seed",
        "different tasks",
    ),
    Fault(
        "options are ignored",
        (
            (_SEED, "super().reset(seed=0)"),
            (_SPLITS, 'splits={"train": list("abcdefgh"), "test": list("ijkl")})'),
        ),
        "all 4 tasks tried are one and the same: reset ignores its options",
        "different tasks",
    ),
]
"""What does not repeat itself, or does so where it should not."""

LISTS = [
    _listing("too few tasks", "count or 50", "3", "it gave 3 tasks, asked for"),
    _listing("too many tasks", "count or 50", "500", "it gave 500 tasks, asked for"),
    _listing("no tasks", "count or 50", "0", "it gave 0 tasks, asked for"),
    _listing("one name", '{split}-{first + n}"', '{split}"', " times"),
    _listing("one task", "seed=first + n)", "seed=7)", "are one task: their options and seeds"),
    _listing("a generator", "    return [Task", "    yield [Task", "it gave <generator object"),
    _listing("names alone", ", seed=first + n)", ").task_id", "', not a layerbench.Task"),
    _listing("a seed below 0", "seed=first + n)", "seed=-n - 1)", "the seed of task 1 is -1"),
    _listing("a name of two lines", "{split}-{", r"{split}\n{", "not one line of text"),
    _listing(
        "options that are no data",
        "seed=first + n)",
        'seed=n, options={"f": tasks})',
        "the options of task 1 are not plain data",
    ),
    _listing(
        "an argument is missing",
        "split, count, seed",
        "split, count",
        "tasks(*, split, count) cannot list tasks (got an unexpected",
    ),
    _listing("listing raises", "count or 50", "None", "lamp cannot give its tasks: TypeError"),
    _listing(
        "another list each time",
        "first = {",
        "tasks.calls = getattr(tasks, 'calls', 0) + 1\n    first = tasks.calls + {",
        "it gave other tasks at a second call with the same arguments",
    ),
    _listing(
        "seed of the list is ignored",
        " + 100 * seed",
        "",
        "tasks ignores its seed: the seeds 0 to 3 give the same",
        check="tasks of train",
    ),
    _listing(
        "equal seeds in both splits",
        '"test": 1000',
        '"test": 0',
        "as well (there '",
    ),
]
"""Lists of tasks."""

MAKING = [
    _swap(
        "reset takes no seed",
        "def reset(self, *, seed=None, options=None):",
        "def reset(self, options=None, seed_=None):\n        seed = None",
        "lamp: reset(options=None, seed_=None) cannot be called (got an unexpected keyword "
        "argument 'seed'): write it as reset(self, *, seed=None, options=None)",
        check="Gymnasium's API",
    ),
    _swap(
        "reset takes no options",
        "def reset(self, *, seed=None, options=None):",
        "def reset(self, *, seed=None):",
        "unexpected keyword argument 'options'): write it as reset(self, *, seed=None",
        check="Gymnasium's API",
    ),
    _swap(
        "step takes nothing",
        "def step(self, action):",
        "def step(self):\n        action = None",
        "lamp: step() cannot be called (too many positional arguments): write it as step(self, act",
        check="Gymnasium's API",
    ),
    _swap(
        "making raises",
        "self.size = size",
        "self.size = size / None",
        "lamp cannot be made: TypeError: unsupported operand",
        check="Gymnasium's API",
    ),
    _swap(
        "no environment",
        "class Lamp(gym.Env):",
        "class Lamp:",
        "lamp cannot be made: TypeError",
        check="Gymnasium's API",
    ),
]
"""What is found when an object is made."""

IN_PROCESS = [*TYPES, *CONTENTS, *REPETITION, *LISTS, *MAKING]

SPECS = [
    _swap("env is none", "env=Lamp", "env=None", "SPEC: env must be a class or function", check=""),
    _swap("name is empty", 'name="lamp"', 'name=" "', "SPEC: name must be letters", check=""),
    _swap("max_turns is text", "max_turns=5", 'max_turns="5"', "SPEC: max_turns must be", check=""),
    _swap("max_turns is 0", "max_turns=5", "max_turns=0", "SPEC: max_turns must be a", check=""),
    _swap(
        "version is text", "max_turns=5", 'version="1"', "SPEC: version must be a whole", check=""
    ),
    _swap(
        "counts_turns is text",
        "max_turns=5",
        'counts_turns="no"',
        "SPEC: counts_turns must be True or False",
        check="",
    ),
    _swap("rules are a list", "max_turns=5", "rules=[]", "SPEC: rules must be text", check=""),
    _swap("rules are empty", "max_turns=5", 'rules=""', "SPEC: rules must be text", check=""),
    _swap(
        "success_at is nan",
        "max_turns=5",
        'success_at=float("nan")',
        "SPEC: success_at must be a finite number",
        check="",
    ),
    _swap("splits are a list", _SPLITS, 'splits=["train"])', "SPEC: splits must be", check=""),
    _swap("no seeds", '"test": 100', '"test": 0', "SPEC: splits['test'] must be 1 to", check=""),
    _swap(
        "the split to train on is missing",
        '"train": 500',
        '"training": 500',
        "SPEC: train_split must be of splits: training, test, got 'train'",
        check="",
    ),
    _swap(
        "the split to score is missing",
        '"test": 100',
        '"tests": 100',
        "SPEC: eval_splits must be of splits: train, tests, got 'test'",
        check="",
    ),
    _swap(
        "names in both splits",
        _SPLITS,
        'splits={"train": ["a", "b"], "test": ["b"]})',
        "SPEC: splits['test'] has 'b', which is in split 'train' as well",
        check="",
    ),
    _swap(
        "an option is a list",
        "max_turns=5",
        'options={"size": [4]}',
        "SPEC: options['size'] must be text, a number",
        check="",
    ),
    _swap("settings are a list", "max_turns=5", "settings=[1]", "SPEC: settings must be", check=""),
    _swap(
        "a preset is a number",
        "max_turns=5",
        'presets={"quick": 5}',
        "SPEC: presets['quick'] must be a dictionary",
        check="",
    ),
    _swap(
        "an option has no default",
        "size=4",
        "size",
        "argument 'size' of Lamp has no default: give it one",
        check="",
    ),
    _swap(
        "a field is mistyped",
        "max_turns=5",
        "max_turn=5",
        "lamp.py: SPEC: no field named 'max_turn': did you mean 'max_turns'? It has env, name",
        check="",
    ),
]
"""Fields of the SPEC: refused when it is imported."""

FILES = [
    _swap(
        "a syntax error",
        "COLOURS = [",
        "COLOURS = [[",
        "lamp.py cannot be imported: Syntax",
        check="",
    ),
    _swap("an import error", "import gymnasium", "import gymnasum", "No module named", check=""),
    _swap(
        "the file exits",
        "COLOURS = [",
        "raise SystemExit(3)\nCOLOURS = [",
        "lamp.py cannot be imported: SystemExit: 3",
        check="",
    ),
    _swap(
        "the process exits",
        "COLOURS = [",
        "import os\nos._exit(3)\nCOLOURS = [",
        "lamp.py, asked for its description, ended its process with 3",
        check="",
    ),
    _swap(
        "the file hangs",
        "COLOURS = [",
        "import time\ntime.sleep(99)\nCOLOURS = [",
        "lamp.py, asked for its description, did not answer within 2 s",
        check="",
    ),
    _listing("a seed of text", "seed=first + n)", 'seed=f"{n}")', "the seed of task 1 is '0'"),
    _swap(
        "SPEC is a dictionary",
        "SPEC = EnvSpec(",
        "SPEC = dict(",
        "not a layerbench.EnvSpec",
        check="",
    ),
    _swap(
        "two classes and no SPEC",
        "SPEC = EnvSpec(",
        "class Other(Lamp):\n    pass\n\n\n_ = EnvSpec(",
        "has no SPEC and 2 classes of a gymnasium.Env: name one, as in",
        check="",
    ),
    Fault(
        "no SPEC and no class",
        (("class Lamp(gym.Env):", "class Lamp:"), ("SPEC = EnvSpec(", "_ = EnvSpec(")),
        "has no SPEC and no class of a gymnasium.Env",
        "",
    ),
    _swap(
        "making hangs",
        "self.size = size",
        "import time; time.sleep(99)",
        "lamp, asked for its environment, did not answer within 2 s",
        check="Gymnasium's API",
    ),
    _swap(
        "making exits",
        "self.size = size",
        "import os; os._exit(3)",
        "lamp, asked for its environment, ended its process with 3",
        check="Gymnasium's API",
    ),
]
"""What is found before anything is played, in a process of its own."""

PLAYED = [
    Fault(
        "the order of a set",
        # So many that two processes hardly ever have them in the same order by chance.
        (
            (
                _INFO,
                _INFO.replace("actions}", 'list({*actions, *map("wait {}".format, range(9))})}'),
            ),
        ),
        "observation.admissible_actions is in another order",
        "equal episodes",
    ),
    Fault(
        "a file that all objects share",
        (
            ("import gymnasium as gym", "from pathlib import Path\n\nimport gymnasium as gym"),
            (_TEXT, 'return f"Lamp {self.lamp} ({self.count()}): press {self.goal}."'),
            (
                "    def text(self):",
                "    def count(self):\n"
                '        with Path(__file__).with_suffix(".txt").open("a+") as file:\n'
                '            file.write("x")\n'
                "            return file.tell()\n\n"
                "    def text(self):",
            ),
        ),
        "observation.text is 'Lamp",
        "equal episodes",
    ),
    _swap(
        "a reset hangs",
        "self.turns = 0",
        "import time; time.sleep(99)",
        "did not answer within 2 s",
        check="episodes",
    ),
    _swap(
        "a step exits",
        "self.turns += 1",
        "import os; os._exit(3)",
        "exited with 3",
        check="episodes",
    ),
    _swap(
        "a step ends softly",
        "self.turns += 1",
        "raise SystemExit(5)",
        "SystemExit: 5 (lamp.py:",
        check="episodes",
    ),
]
"""What is found where workers play."""
