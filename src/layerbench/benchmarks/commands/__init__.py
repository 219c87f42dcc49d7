"""One file a command of ``layerbench``."""
