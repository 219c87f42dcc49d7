"""What all tests share."""

import signal

from hypothesis import settings

# A busy machine takes its time; a property is not wrong for that.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

# Shells start commands in the background with Ctrl-C ignored, and their processes inherit it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
