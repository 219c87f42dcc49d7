"""The process that plays some slots of a pool: ``python -m layerbench.envs.worker FD PARENT``.

The pool starts it. FD is its end of the pool's connection, PARENT the process it lives for.
Imports are kept few: they are the time a worker takes to start.
"""

import os
import select
import signal
import sys
import threading
from contextlib import suppress
from multiprocessing.connection import Connection

from layerbench.envs.slots import Prepare, Slots

PARENT_CHECK_MS = 1000


def serve(connection: Connection) -> None:
    """Answer requests until the pool says None or is gone.

    The first message is the ``EnvRecipe``; each one after it is a ``Request`` and gets a reply.
    """
    slots = Slots(connection.recv())
    # Imports the environment, while the parent is still busy loading its model.
    slots.handle(Prepare(()))
    while (request := connection.recv()) is not None:
        connection.send(slots.handle(request))
    slots.close()


def _outlive_no_parent(fileno: int, parent: int) -> None:
    """Exit as soon as the pool's end of the connection is closed, even in the midst of a step.

    Reading would notice only after the step. The parent's id is checked too because a child
    that the parent forked may hold the connection open.
    """
    hangup = select.poll()
    hangup.register(fileno, 0)
    while os.getppid() == parent and not hangup.poll(PARENT_CHECK_MS):
        pass
    os._exit(1)


def main() -> None:
    """Run the worker."""
    # Ctrl-C is the parent's to handle: it closes its workers on the way out.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    fileno, parent = int(sys.argv[1]), int(sys.argv[2])
    connection = Connection(fileno)
    threading.Thread(target=_outlive_no_parent, args=(fileno, parent), daemon=True).start()
    with suppress(EOFError, ConnectionError):
        serve(connection)


if __name__ == "__main__":
    main()
