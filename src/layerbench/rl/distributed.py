"""Several processes that train one model together, started by torchrun; or one alone.

Every process holds the whole model and draws the same plan from the same seed. Each plays and
learns from a share of its own, and hears of the others' before anything is decided, so that all of
them take the same step. The first one alone writes files.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Protocol, TypeVar, cast, runtime_checkable

import torch
from torch import Tensor
from torch import distributed as dist

from layerbench.agents import torchrun

T = TypeVar("T")

# Nobody waits for a process that died: torchrun ends the others. One may play for long, though.
_PATIENCE = timedelta(days=1)


@runtime_checkable
class Ranks(Protocol):
    """The processes of a run, as one of them sees them.

    Attributes:
        rank: Number of this one, from 0.
        size: How many there are.
    """

    rank: int
    size: int

    def first(self, make: Callable[[], T]) -> T:
        """Have the first process alone make a value, and give it to all.

        Raises:
            Exception: What making it raised there, in every process.
        """
        ...

    def join(self, own: Sequence[T]) -> list[T]:
        """Put the lists of all processes together, in the order of their ranks."""
        ...

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all processes; they have equal shapes everywhere."""
        ...


class Alone:
    """A single process, which has nobody to talk to."""

    rank = 0
    size = 1

    def first(self, make: Callable[[], T]) -> T:
        return make()

    def join(self, own: Sequence[T]) -> list[T]:
        return list(own)

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        return None


ALONE = Alone()


class Together:
    """This process among others, by torch.distributed, whose group must have been started.

    Objects go as pickles, from one process of a run to another of the same run.
    """

    def __init__(self) -> None:
        self.rank = dist.get_rank()
        self.size = dist.get_world_size()

    def first(self, make: Callable[[], T]) -> T:
        told: list[Any] = [None]
        if self.rank == 0:
            try:
                told = [(make(), None)]
            except Exception as error:  # noqa: BLE001 - is raised below, here and elsewhere
                told = [(None, error)]
        dist.broadcast_object_list(told)  # pyright: ignore[reportUnknownMemberType]
        value, error = cast(tuple[T, Exception | None], told[0])
        if error is not None:
            raise error
        return value

    def join(self, own: Sequence[T]) -> list[T]:
        parts: list[Any] = [None] * self.size
        dist.all_gather_object(parts, list(own))  # pyright: ignore[reportUnknownMemberType]
        return [item for part in parts for item in part]

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Sum by one exchange of all tensors laid end to end, in their own precision."""
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        dist.all_reduce(flat)  # pyright: ignore[reportUnknownMemberType]
        start = 0
        for tensor in tensors:
            tensor.copy_(flat[start : start + tensor.numel()].view_as(tensor))
            start += tensor.numel()


@contextmanager
def connected() -> Generator[Ranks]:
    """Meet the other processes that torchrun has started, for as long as the context lasts."""
    if torchrun.processes() == 1:
        yield ALONE
        return
    if torch.cuda.is_available() and torchrun.local_rank() < torch.cuda.device_count():
        torch.cuda.set_device(torchrun.local_rank())
    # Tensors on GPUs go by NCCL, everything else by gloo.
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", timeout=_PATIENCE
    )
    try:
        yield Together()
    finally:
        dist.destroy_process_group()


def share(items: Sequence[T], *, by: Callable[[T], object], ranks: Ranks) -> list[T]:
    """Pick what this process does: neighbours that are equal in ``by`` stay together.

    The shares are of as equal numbers of such neighbours as can be, and joined in the order of the
    ranks they are all the items in their order.

    >>> class Second(Alone):
    ...     rank, size = 1, 2
    >>> share(["a1", "a2", "b1", "b2", "c1"], by=lambda item: item[0], ranks=Second())
    ['c1']
    """
    starts = [i for i, item in enumerate(items) if i == 0 or by(item) != by(items[i - 1])]
    whole, rest = divmod(len(starts), ranks.size)
    first = ranks.rank * whole + min(ranks.rank, rest)
    last = first + whole + (ranks.rank < rest)
    edges = [*starts, len(items)]
    return list(items[edges[first] : edges[last]])


def check_agreement(own: str, ranks: Ranks, *, what: str) -> None:
    """Make sure that all processes hold the same.

    Args:
        own: What this one holds, or a hash of it.
        ranks: The processes.
        what: Names it.

    Raises:
        RuntimeError: They differ.
    """
    found = ranks.join([own])
    if len(set(found)) > 1:
        short = ", ".join(one[:8] for one in found)
        raise RuntimeError(
            f"the {ranks.size} processes hold different {what} ({short}): they need the same code, "
            "machines of one kind, and a run folder (run_root, --out) that all of them see"
        )
