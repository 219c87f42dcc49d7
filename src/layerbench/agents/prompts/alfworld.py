"""Rules of ALFWorld for the system message."""

# "Nothing happens." is ALFWorld's reply to every action that is not admissible.
RULES = (
    "You act in a household described in text, and have one task, which is named at the start. "
    "You see only what is at the place where you are: go to places, open what is closed, and "
    "look for what the task needs. You can carry one object at a time. To clean, heat or cool an "
    "object, carry it to a sink basin, a microwave or a fridge; to examine it in light, carry it "
    "to a lamp and use the lamp. The number after a name tells equal things apart. If nothing "
    "happens, the action was not possible."
)
