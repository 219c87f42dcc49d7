"""Counts the turns of an episode, and refuses those that it does not have."""

from gymnasium.error import ResetNeeded

from layerbench.errors import UserError


class TurnClock:
    """Tells an environment whether an episode is under way.

    Gymnasium's ``TimeLimit`` truncates as well, but plays on if it is asked to.

    Args:
        max_turns: Actions after which an episode is truncated.

    Raises:
        UserError: The number is below 1.
    """

    def __init__(self, max_turns: int) -> None:
        if max_turns < 1:
            raise UserError(f"max_turns must be at least 1, got {max_turns}")
        self._max_turns = max_turns
        self.reset()

    def reset(self) -> None:
        """Note that no episode is under way: a reset has begun, and may fail."""
        self._turns = 0
        self._has_started = self._is_over = False

    def start(self) -> None:
        """Note that an episode has begun."""
        self.reset()
        self._has_started = True

    def tick(self) -> None:
        """Count an action, before it is played.

        Raises:
            gymnasium.error.ResetNeeded: There was no successful reset before.
            RuntimeError: The episode has ended.
        """
        if not self._has_started:
            raise ResetNeeded("no episode is under way: reset before the first step")
        if self._is_over:
            raise RuntimeError("the episode has ended: reset before the next step")
        self._turns += 1

    def stop(self, *, terminated: bool) -> bool:
        """Note whether the action ended the episode; returns whether it was truncated."""
        truncated = not terminated and self._turns >= self._max_turns
        self._is_over = terminated or truncated
        return truncated
