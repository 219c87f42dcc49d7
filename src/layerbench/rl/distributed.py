"""Data-parallel training: one process, or several, which torchrun or the run itself started.

Every process holds the whole model and derives the same tasks and batches from the same seed. Each
plays and learns from a share of them; episodes and gradients are exchanged before each step, so
that all processes take the same one. Only the first process writes files.
"""

import os
import socket
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast, runtime_checkable

import torch
from torch import Tensor
from torch import distributed as dist

from layerbench.agents import torchrun
from layerbench.errors import UserError

T = TypeVar("T")

# Long, since one process may take hours to play. When one dies, its connections end, and torchrun
# ends the others.
_TIMEOUT = timedelta(days=1)


@runtime_checkable
class ProcessGroup(Protocol):
    """The processes of a run, from the view of one of them.

    Attributes:
        rank: Number of this process, from 0.
        size: Number of processes.
    """

    rank: int
    size: int

    def first(self, make: Callable[[], T]) -> T:
        """Make a value in the first process alone, and broadcast it to all.

        Raises:
            Exception: The error that ``make`` raised in the first process, in every process.
        """
        ...

    def join(self, own: Sequence[T]) -> list[T]:
        """Concatenate the lists of all processes, in the order of their ranks."""
        ...

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all processes; they have equal shapes everywhere."""
        ...


class SingleProcess:
    """A single process, without communication."""

    rank = 0
    size = 1

    def first(self, make: Callable[[], T]) -> T:
        return make()

    def join(self, own: Sequence[T]) -> list[T]:
        return list(own)

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        return None


SINGLE_PROCESS = SingleProcess()


class TorchProcessGroup:
    """This process in torch.distributed's default group, which must have been initialised.

    Objects are exchanged as pickles, only between processes of one run.
    """

    def __init__(self) -> None:
        self.rank = dist.get_rank()
        self.size = dist.get_world_size()

    def first(self, make: Callable[[], T]) -> T:
        outcome: list[Any] = [None]
        if self.rank == 0:
            try:
                outcome = [(make(), None)]
            except Exception as error:  # noqa: BLE001 - raised below, in every process
                outcome = [(None, error)]
        dist.broadcast_object_list(outcome)  # pyright: ignore[reportUnknownMemberType]
        value, error = cast(tuple[T, Exception | None], outcome[0])
        if error is not None:
            raise error
        return value

    def join(self, own: Sequence[T]) -> list[T]:
        parts: list[Any] = [None] * self.size
        dist.all_gather_object(parts, list(own))  # pyright: ignore[reportUnknownMemberType]
        return [item for part in parts for item in part]

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Sum by one all-reduce of all tensors laid end to end, in their own precision."""
        # One call for all, since every call waits for all processes.
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        dist.all_reduce(flat)  # pyright: ignore[reportUnknownMemberType]
        start = 0
        for tensor in tensors:
            tensor.copy_(flat[start : start + tensor.numel()].view_as(tensor))
            start += tensor.numel()


@dataclass(frozen=True, slots=True)
class Meeting:
    """Where the processes of a run on one machine find each other.

    Attributes:
        store: A file that none of them has made yet, in a folder that no other user can write to.
        rank: Number of this process, from 0.
        size: Number of processes.
    """

    store: Path
    rank: int
    size: int


@contextmanager
def connected(meeting: Meeting | None = None) -> Generator[ProcessGroup]:
    """Connect the processes of a run, for as long as the context lasts.

    Args:
        meeting: Where they meet; None for those that torchrun started.
    """
    if meeting is not None:
        with _on_loopback():
            dist.init_process_group(
                "gloo",
                store=dist.FileStore(  # pyright: ignore[reportPrivateImportUsage]
                    str(meeting.store), meeting.size
                ),
                rank=meeting.rank,
                world_size=meeting.size,
                timeout=_TIMEOUT,
            )
        try:
            yield TorchProcessGroup()
        finally:
            dist.destroy_process_group()
        return
    if torchrun.processes() == 1:
        yield SINGLE_PROCESS
        return
    if torch.cuda.is_available() and torchrun.local_rank() < torch.cuda.device_count():
        torch.cuda.set_device(torchrun.local_rank())
    # Tensors on GPUs go by NCCL, everything else by gloo.
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", timeout=_TIMEOUT
    )
    try:
        yield TorchProcessGroup()
    finally:
        dist.destroy_process_group()


@contextmanager
def _on_loopback() -> Generator[None]:
    """Have gloo listen to this machine alone: by default it takes the interface of its name."""
    name, before = "GLOO_SOCKET_IFNAME", os.environ.get("GLOO_SOCKET_IFNAME")
    loopback = {interface for _, interface in socket.if_nameindex()} & {"lo", "lo0"}
    if not loopback:
        raise UserError(
            "this machine has no loopback interface, by which the processes of a run talk: give "
            "model.processes=1"
        )
    os.environ[name] = loopback.pop()
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before


def share(items: Sequence[T], *, by: Callable[[T], object], processes: ProcessGroup) -> list[T]:
    """Pick this process's share of a list: neighbours that are equal in ``by`` stay together.

    Shares have equal numbers of such neighbours, or one more, and concatenated in the order of the
    ranks they are the list again.

    >>> class Second(SingleProcess):
    ...     rank, size = 1, 2
    >>> share(["a1", "a2", "b1", "b2", "c1"], by=lambda item: item[0], processes=Second())
    ['c1']
    """
    starts = [i for i, item in enumerate(items) if i == 0 or by(item) != by(items[i - 1])]
    whole, rest = divmod(len(starts), processes.size)
    first = processes.rank * whole + min(processes.rank, rest)
    last = first + whole + (processes.rank < rest)
    edges = [*starts, len(items)]
    return list(items[edges[first] : edges[last]])


def check_agreement(own: str, processes: ProcessGroup, *, what: str) -> None:
    """Make sure that all processes hold equal values.

    Args:
        own: This process's value, or a hash of it.
        processes: The processes to compare.
        what: Name of the value in the error.

    Raises:
        RuntimeError: They differ.
    """
    values = processes.join([own])
    if len(set(values)) > 1:
        short = ", ".join(value[:8] for value in values)
        raise RuntimeError(
            f"the {processes.size} processes hold different {what} ({short}): they need the same "
            "code, machines of one kind, and a run folder (run_root, --out) that all of them see"
        )
