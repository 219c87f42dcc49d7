"""All errors that the command line shows as one line; any other exception is a bug.

``UserError``: an argument, setting, file or folder is wrong, and nothing has run; exit status 2.
``FailedError``: the command was right, and its execution failed; exit status 1. Other exceptions
keep their traceback.

    UserError                    (layerbench.errors; environments, agents and rl raise it as well)
        SettingsError            a setting or an argument
            HeldError            a run's folder that another process holds
        FormatError              a file that is not in the form it should have
            SchemaError          a record of another schema version
    FailedError
        RunFailedError           a run; its folder's error.log has the traceback
        FetchError               a download
"""

from layerbench.errors import UserError

__all__ = [
    "FailedError",
    "FetchError",
    "FormatError",
    "HeldError",
    "RunFailedError",
    "SchemaError",
    "SettingsError",
    "UserError",
]


class SettingsError(UserError):
    """A setting or argument does not exist, or cannot have its value."""


class HeldError(SettingsError):
    """Another process is at work in the folder."""


class FormatError(UserError):
    """A file does not have the form that it should have."""


class SchemaError(FormatError):
    """A record has another schema version: not damaged, but of another version of layerbench."""


class FailedError(Exception):
    """A command failed that was typed rightly."""


class RunFailedError(FailedError):
    """A run ended early; the same command continues it where it can."""


class FetchError(FailedError):
    """A download failed, or is not the pinned file."""
