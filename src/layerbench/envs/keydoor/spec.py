"""KeyDoor for the registry."""

from layerbench.envs.spec import EnvSpec

SPEC = EnvSpec(
    env="layerbench.envs.keydoor.env:KeyDoor",
    gym_id="layerbench/KeyDoor-v0",
    max_turns=10,
    counts_turns=True,
    tasks="layerbench.envs.keydoor.env:list_tasks",
    options={"num_keys": 3},  # Fewer make fewer rooms than most presets ask for.
    rules=(
        "You are in a room with a locked door. Take the key that is of the same metal as the lock, "
        "then open the door."
    ),
    presets={
        "default": {"model.name": "embedded-keydoor"},
        "quick": {"model.name": "embedded-keydoor"},
        "quick-generate": {"model.name": "embedded-keydoor", "env.max_turns": 4},
    },
)
