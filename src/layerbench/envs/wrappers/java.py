"""Games that run on Java, each in a Java machine of its own."""

import hashlib
import json
import subprocess
from contextlib import suppress
from typing import Any

from layerbench.envs.wrappers.game import GET_JAVA, Game, has_java
from layerbench.errors import UserError

SLOTS = {"env.slots": 4}
"""Episodes side by side: every slot is a process of 100 to 500 MB."""


_PATIENCE_S = 10.0


class JavaGame(Game):
    """A game whose machine starts with its first episode, and is stopped by ``close``."""

    _machine: Any = None
    _rooms: dict[str, str]

    def machine(self) -> Any:  # noqa: ANN401 - packages without types
        """Return the running machine; it is started if there is none."""
        if self._machine is None:
            self._machine = self.start_machine()
        return self._machine

    def start_machine(self) -> Any:  # noqa: ANN401
        """Start a machine."""
        raise NotImplementedError

    def anchor_of(self, look: str, *rest: str, opening: bool) -> str:
        """Return a key of the state: how each room was last seen, and what else is told.

        Args:
            look: What can be seen now; its first sentence names the room.
            rest: What else is known.
            opening: It is the start of an episode: the rooms of the last one are forgotten.
        """
        if opening:
            self._rooms = {}
        self._rooms[look.partition(".")[0]] = look
        known = json.dumps([sorted(self._rooms.items()), look, rest])
        return hashlib.sha256(known.encode()).hexdigest()

    def close(self) -> None:
        machine, self._machine = self._machine, None
        if machine is None:
            return
        process = machine._gateway.java_process
        machine.close()
        # Its end of the pipes stays open otherwise, and the process unreaped.
        with suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE_S)
        for pipe in filter(None, (process.stdin, process.stdout, process.stderr)):
            pipe.close()


def check_java(name: str) -> None:
    """Refuse an environment where it could not run.

    Raises:
        UserError: Java is not found.
    """
    if not has_java():
        raise UserError(f"{name} runs on Java, which is not found: {GET_JAVA}")
