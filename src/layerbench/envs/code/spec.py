"""Code for the registry."""

from layerbench.envs.spec import EnvSpec

_LINES = {"env.max_turns": 6}
_WHOLE = {"env.turns": "whole", "env.shows": "both", "env.max_turns": 1}

SPEC = EnvSpec(
    env="layerbench.envs.code.env:CodeEnv",
    gym_id="layerbench/Code-v0",
    max_turns=8,
    counts_turns=True,
    tasks="layerbench.envs.code.env:list_tasks",
    options={"level": "medium", "turns": "line", "names": "plain", "shows": "sentence"},
    rules=(
        "You write a small Python function. Where lines are listed, each action adds one of them "
        "to the function, and a line with return ends it. Where none are listed, your one action "
        "is the whole function, as Python code that imports nothing. Hidden tests then call it, "
        "and only a function that passes all of them counts."
    ),
    presets={
        "default": _LINES,
        "quick": _LINES,
        "quick-generate": {**_WHOLE, "agent.max_response_tokens": 64},
        "small": {**_WHOLE, "agent.action_mode": "generate", "agent.max_response_tokens": 256},
        "paper": _WHOLE,
    },
    source="layerbench.envs.code.env:source_of",
)
