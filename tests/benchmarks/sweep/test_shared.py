"""How runs of a sweep share the cores of a machine."""

import pytest

from layerbench.benchmarks.records import provenance
from layerbench.benchmarks.sweep.shared import Common, Shared, share


@pytest.fixture(autouse=True)
def eight_cores_and_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "cpus", lambda: 8)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)


def shared(
    *settings: str, launcher: str = "joblib", jobs: int | None = None, preset: str = "quick"
) -> Shared:
    asked = Common("keydoor", settings, "1", preset, None, jobs, launcher)
    return share(asked, chosen={})


@pytest.mark.parametrize(("processes", "jobs"), [(1, 8), (2, 4), (3, 2), (16, 1)])
def test_as_many_runs_at_a_time_as_there_are_cores_for_their_processes(
    processes: int, jobs: int
) -> None:
    assert shared(f"model.processes={processes}").jobs == jobs
    # What was typed counts.
    assert shared(f"model.processes={processes}", jobs=5).jobs == 5


def test_the_default_preset_takes_two_cores_a_run() -> None:
    assert shared(preset="default").jobs == 4


@pytest.mark.parametrize(
    ("launcher", "setting"),
    [("ray", "hydra.launcher.num_cpus"), ("submitit", "hydra.launcher.cpus_per_task")],
)
def test_a_cluster_is_asked_for_the_cores_of_a_run(launcher: str, setting: str) -> None:
    assert shared(launcher=launcher).launcher_settings == ()
    two = "model.processes=2"
    assert shared(two, launcher=launcher).launcher_settings == (f"{setting}=2",)
    typed = shared(two, f"{setting}=4", launcher=launcher)
    assert typed.launcher_settings == (f"{setting}=4",)
