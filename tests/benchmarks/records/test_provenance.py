import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import layerbench
from layerbench.benchmarks.leaderboard import cells
from layerbench.benchmarks.records import provenance
from layerbench.benchmarks.records.record_sections import CodeRecord


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


def test_equal_code_has_equal_hashes_wherever_it_is_installed(tmp_path: Path) -> None:
    package = Path(layerbench.__file__).parent
    here = provenance.package_sha256()
    assert len(here) == 64
    installed = tmp_path / "site-packages" / "layerbench"
    shutil.copytree(package, installed, ignore=shutil.ignore_patterns("*.md", "*.css"))
    (installed / "__pycache__").mkdir(exist_ok=True)
    (installed / "__pycache__" / "left.py").touch()
    assert provenance.folder_sha256(installed) == here
    assert provenance.code().sha256 == here
    errors = installed / "errors.py"
    errors.write_text(f"{errors.read_text()}\n")
    edited = provenance.folder_sha256(installed)
    assert edited != here
    errors.rename(installed / "mistakes.py")
    assert provenance.folder_sha256(installed) not in (here, edited)


def test_code_is_named_by_commit_or_by_version_and_hash() -> None:
    code = CodeRecord("0.1.0", "c" * 40, dirty=False, packages={}, sha256="ab" * 32)
    labels = {
        "c" * 40: code,
        f"{'c' * 40}+abababababab": replace(code, dirty=True),
        "0.1.0 abababababab": replace(code, revision=""),
        f"{'c' * 40}+": replace(code, dirty=True, sha256=None),
        "": replace(code, revision="", sha256=None),
    }
    assert {c.label: c for c in labels.values()} == labels
    assert [cells.short_code(label) for label in labels] == [
        "cccccccccc",
        "cccccccccc+abababababab",
        "version 0.1.0 abababababab",
        "cccccccccc+",
        "unknown",
    ]


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
