"""Whether packages are installed that only some uses need."""

import importlib.util


def is_installed(module: str) -> bool:
    """Tell whether there is a module to import, without importing it.

    A folder of its name in the working directory, such as a tracker's own store, is none.

    >>> is_installed("json"), is_installed("no_such_package.part")
    (True, False)
    """
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        # The package that should hold it.
        return False
    return spec is not None and spec.origin is not None
