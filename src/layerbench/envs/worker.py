"""Worker process of an ``EnvPool``: ``python -m layerbench.envs.worker FD PARENT``.

The pool starts it; with a third argument it shows what the environment prints. FD is the file
descriptor of its end of the connection, PARENT the process id of the pool. Imports are kept few,
since they make up the time a worker takes to start.
"""

import os
import select
import signal
import sys
import threading
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import PurePath

from layerbench.envs.contract import ContractError
from layerbench.envs.printed import Printed
from layerbench.envs.slots import Prepare, Reply, Request, Slots

PARENT_CHECK_MS = 1000
"""Interval at which the parent's id is checked."""


def serve(connection: Connection, *, shows: bool = False) -> None:
    """Answer requests until None is received or the connection is closed.

    The first message is an ``EnvRecipe``, whose answer says that the environment is imported; each
    later one is a ``Request`` and gets a ``Reply``.

    Args:
        connection: The connection to the pool.
        shows: Whether to show what the environment prints; its first line, and not that of its
            import, which another process has shown.
    """
    # Ctrl-C goes to the parent: here, an interrupt is one that an environment raises.
    recipe = connection.recv()
    printed = Printed(PurePath(recipe.env).name, shows=False)
    slots = Slots(recipe, (Exception, SystemExit, KeyboardInterrupt))
    # Imports the environment, while the parent is still busy loading its model.
    connection.send(slots.handle(Prepare(())))
    sys.stdout.flush()
    printed.shows = shows
    while (request := connection.recv()) is not None:
        connection.send(_answer(slots, request))
    slots.close()
    printed.close()


def _answer(slots: Slots, request: Request) -> Reply | ContractError:
    try:
        return slots.handle(request)
    except ContractError as error:
        # Raised again by the pool.
        return error


def _exit_with_parent(fileno: int, parent: int) -> None:
    """Exit as soon as the pool's end of the connection is closed, even during a step.

    The main thread would notice only after the step. The parent's id is checked too, because a
    child that the parent forked may hold the connection open.
    """
    hangup = select.poll()
    # No event is asked for: poll reports a hangup in any case.
    hangup.register(fileno, 0)
    while os.getppid() == parent and not hangup.poll(PARENT_CHECK_MS):
        pass
    # sys.exit would end this thread alone; the main one may be stuck in a step.
    os._exit(1)


def main() -> None:
    """Run the worker."""
    # The parent handles Ctrl-C: it closes its workers on the way out.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    fileno, parent = int(sys.argv[1]), int(sys.argv[2])
    connection = Connection(fileno)
    threading.Thread(target=_exit_with_parent, args=(fileno, parent), daemon=True).start()
    with suppress(EOFError, ConnectionError):
        serve(connection, shows=len(sys.argv) > 3)


if __name__ == "__main__":
    main()
