"""Models that layerbench knows by names of its own, wherever a model is named.

A folder of the same name in the working directory is never meant: ``./NAME`` names that.
"""

from layerbench.agents.pretrained import embedded, fetched


def is_ours(name: str) -> bool:
    """Tell whether a name is one of layerbench's, not a folder's or one on the Hub."""
    return name in embedded.FOLDERS or name in fetched.SOURCES


def place(name: str) -> str:
    """Give what transformers loads for a name: a folder for one of ours, else the name itself.

    Raises:
        NotFetchedError: It is a model that was not fetched.
    """
    if name in embedded.FOLDERS:
        return str(embedded.model_dir(name))
    return str(fetched.find(name)) if name in fetched.SOURCES else name
