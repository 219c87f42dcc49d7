"""Names of the models that layerbench embeds or downloads.

Such a name never means a folder in the working directory: ``./NAME`` does.
"""

from layerbench.agents.pretrained import embedded, fetched


def is_known(name: str) -> bool:
    """Tell whether a name is one of layerbench's, and not of a folder or on the Hub."""
    return name in embedded.FOLDERS or name in fetched.SOURCES


def resolve(name: str) -> str:
    """Resolve a name for transformers: to a folder if it is known, else to itself.

    Raises:
        NotFetchedError: The model was not downloaded yet.
    """
    if name in embedded.FOLDERS:
        return str(embedded.model_dir(name))
    return str(fetched.find(name)) if name in fetched.SOURCES else name
