"""What more threads of torch bring here, by a short measurement.

Shape suffixes: B sequences, S tokens of a sequence, H hidden size.
"""

import statistics
import time
from collections.abc import Mapping

import torch
from torch import nn

WIDTHS: Mapping[str, tuple[int, int]] = {"embedded": (64, 2), "smollm2-135m": (576, 9)}
"""Hidden size and heads of the models that a laptop runs."""

_SEQUENCES, _TOKENS, _TIMES = 8, 64, 7


def speedups(threads: int) -> dict[str, float]:
    """Measure how many times the work of one thread several do in the same time.

    The work is a pass of one block over 8 sequences of 64 tokens, forwards and backwards, by one
    thread and by all in turn; the medians count. It takes about a second.

    Args:
        threads: Number of threads, at least 1.

    Returns:
        The ratio for each of ``WIDTHS``.
    """
    before = torch.get_num_threads()
    try:
        return {name: _speedup(*shape, threads) for name, shape in WIDTHS.items()}
    finally:
        torch.set_num_threads(before)


def _speedup(width: int, heads: int, threads: int) -> float:
    block = nn.TransformerEncoderLayer(width, heads, 3 * width, dropout=0.0, batch_first=True)
    states_BSH = torch.ones(_SEQUENCES, _TOKENS, width)
    seconds: dict[int, list[float]] = {1: [], threads: []}
    for _ in range(_TIMES):
        for count, times in seconds.items():
            torch.set_num_threads(count)
            # The first pass after a change starts threads.
            _time_pass(block, states_BSH)
            times.append(_time_pass(block, states_BSH))
    return statistics.median(seconds[1]) / statistics.median(seconds[threads])


def _time_pass(block: nn.Module, states_BSH: torch.Tensor) -> float:
    """Give the seconds of the clock that a pass forwards and backwards takes."""
    started = time.perf_counter()
    block(states_BSH).sum().backward()
    return time.perf_counter() - started
