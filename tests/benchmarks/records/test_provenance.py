import subprocess
from pathlib import Path

import pytest
import torch

from layerbench.benchmarks.records import provenance


def test_a_change_outside_of_the_package_marks_the_code_as_dirty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "src/layerbench/benchmarks/records/provenance.py"
    module.parent.mkdir(parents=True)
    module.touch()
    (tmp_path / "README.md").touch()
    for command in (
        ["init"],
        ["add", "."],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-m", "first"],
    ):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True, capture_output=True)
    monkeypatch.setattr(provenance, "__file__", str(module))
    assert not provenance.code().dirty
    (tmp_path / "README.md").write_text("changed")
    assert provenance.code().dirty


def test_memory_of_a_gpu_is_the_peak_of_torchs_allocations(monkeypatch: pytest.MonkeyPatch) -> None:
    peaks = {torch.device("cuda:0"): 1, torch.device("cuda:1"): 2_345_670_000}
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", peaks.__getitem__)
    assert provenance.device_memory_mb([torch.device("cuda:1")]) == 2345.7


def test_memory_of_several_gpus_is_summed(monkeypatch: pytest.MonkeyPatch) -> None:
    devices = [torch.device("cuda:0"), torch.device("cuda:1")]
    peaks = dict.fromkeys(devices, 1_500_000)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", peaks.__getitem__)
    assert provenance.device_memory_mb(devices) == 3.0


def test_a_cpu_has_no_memory_of_its_own() -> None:
    assert provenance.device_memory_mb([torch.device("cpu")]) is None
