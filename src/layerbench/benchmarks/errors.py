"""Every error of the product that a user can meet.

``UserError`` is what a user gave and can mend: exit status 2, and nothing has run. ``FailedError``
is something that was asked for rightly and did not come about: exit status 1. Both are one line,
without a traceback. Whatever else is raised is a bug, and shows where it was raised.

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
    """A setting or argument does not exist, or cannot have the value it was given."""


class HeldError(SettingsError):
    """Another process is at work in the folder."""


class FormatError(UserError):
    """JSON does not have the form of the dataclass it should fill."""


class SchemaError(FormatError):
    """A record is of another schema version: not broken, but written by another layerbench."""


class FailedError(Exception):
    """Something that was asked for rightly did not come about."""


class RunFailedError(FailedError):
    """A run ended early; the same command goes on with it where that can help."""


class FetchError(FailedError):
    """The download failed, or brought something else than it should."""
