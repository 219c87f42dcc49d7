"""The base of every error that is a user's to mend, in all packages."""


class UserError(ValueError):
    """What a user gave cannot be used: a setting, an argument, a file, a folder.

    The message is one line, in lower case: what was wrong, the value, and what to do. The command
    line prints it and exits with 2; anything else that is raised is a bug of layerbench's or a
    failure of the machine, and keeps its traceback.
    """
