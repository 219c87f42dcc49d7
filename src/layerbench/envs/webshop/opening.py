"""Opens shops: each once in a process, whoever asks for it."""

import functools
import os
from pathlib import Path

from layerbench.envs.webshop import generator, stock
from layerbench.envs.webshop.shop import Shop, ShopRules


def open_shop(data_dir: str | os.PathLike[str] | None, rules: ShopRules) -> Shop:
    """Open a shop, and fill the folder it needs the first time.

    Args:
        data_dir: Folder of a published catalogue; None for the generated one.
        rules: How the shop is run.

    Raises:
        ValueError: The catalogue is not there, or not what it should be, or the cache cannot be
            written.
    """
    return _open(_folder(data_dir), rules)


def source_of(data_dir: str | os.PathLike[str] | None) -> str:
    """Name a catalogue: ``webshop-synth``, or ``webshop-`` and the hash of a published one.

    Raises:
        ValueError: As ``open_shop``.
    """
    return str(stock.about(_folder(data_dir))["source"])


def _folder(data_dir: str | os.PathLike[str] | None) -> Path:
    if data_dir:
        return _official(Path(data_dir).expanduser().resolve())
    return generator.stocked()


# The files of a running process are taken not to change.
_official = functools.lru_cache(maxsize=8)(stock.official)


@functools.lru_cache(maxsize=8)
def _open(folder: Path, rules: ShopRules) -> Shop:
    return Shop(folder, rules)
