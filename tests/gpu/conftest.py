"""The device of these tests: CUDA, or what LAYERBENCH_GPU_TESTS names to rehearse them."""

import os

import pytest
import torch


@pytest.fixture
def device() -> torch.device:
    """Name the device; the test is skipped where there is no GPU."""
    name = os.environ.get("LAYERBENCH_GPU_TESTS", "cuda")
    if name == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device (LAYERBENCH_GPU_TESTS=cpu rehearses these tests)")
    return torch.device(name)
