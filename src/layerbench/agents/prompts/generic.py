"""Rules for the system message of an environment without a file of its own."""

RULES = (
    "You act in a world described in text, one action at a time, to reach the goal you are given. "
    "After each action you are told what it led to."
)
