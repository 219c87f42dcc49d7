"""Rules of KeyDoor for the system message."""

RULES = (
    "You are in a room with a locked door. Take the key that is of the same metal as the lock, "
    "then open the door."
)
