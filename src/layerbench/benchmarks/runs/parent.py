"""A child process ends with the process that started it, however that one ended."""

import os
import threading


def end_with_parent() -> None:
    """From here on, end this process once its stdin closes.

    The parent holds the other end of that pipe and writes no more: the kernel closes it where the
    parent is killed.
    """
    threading.Thread(target=_wait_for_the_end, daemon=True).start()


def _wait_for_the_end() -> None:
    while os.read(0, 1):
        pass
    # sys.exit would end this thread alone.
    os._exit(1)
