"""Mathematics for the registry."""

from layerbench.envs.spec import EnvSpec

# Episodes are short: more of them an iteration, at lower rates, let full training solve 0.91 of the
# problems in 30 iterations, where the preset's 50 of 8 tasks came to 0.57 (docs/LOG.md).
_TRAINING = {
    "train.iterations": 30,
    "train.tasks_per_iteration": 32,
    "train.minibatches": 8,
    "train.learning_rate": 1.0e-4,
    "train.layer_learning_rate": 2.0e-3,
    "train.entropy_coef": 0.01,
    "eval.tasks": 256,
}
# Problems with two signs: what these mean, the embedded model has not been told.
_EMBEDDED = {
    "model.name": "embedded",
    "env.levels": "chain-3,brackets",
    "env.tools": "calculator",
}

SPEC = EnvSpec(
    env="layerbench.envs.math.env:make",
    gym_id="layerbench/Math-v0",
    # The longest generated problem takes four steps of the calculator; the rest is for mistakes.
    max_turns=8,
    counts_turns=True,
    tasks="layerbench.envs.math.env:list_tasks",
    options={
        "levels": "first",
        "signs": "plain",
        "tools": "none",
        "data": "",
        "test_data": "",
        "question_field": "",
        "answer_field": "",
    },
    # What permuted signs mean is left out: it is to be found out.
    rules=(
        "You are given a problem of mathematics. Give its answer as \\boxed{42}, or as the action "
        "'answer 42'."
    ),
    # Told of a calculator that is not there, a model looks for it.
    option_rules={
        "tools": {
            "calculator": (
                "Where the problem ends in 'with calculator', an action such as 'calculate 7 + 5' "
                "puts the result in the place of two neighbours in the problem, and you are shown "
                "what is left of it; the answer comes last."
            )
        }
    },
    settings={"agent.answer_form": "text"},
    presets={
        "default": _EMBEDDED | _TRAINING,
        "quick": _EMBEDDED,
        # NuminaMath-CoT is what the paper trains Qwen3 on; MATH-500 is the first of what it scores.
        "paper-math": {
            "env.max_turns": 1,
            "env.data": "AI-MO/NuminaMath-CoT",
            "env.test_data": "HuggingFaceH4/MATH-500",
        },
    },
    source="layerbench.envs.math.env:source_of",
    origin_options=("data", "test_data"),
)
