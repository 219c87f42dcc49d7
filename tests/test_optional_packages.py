from pathlib import Path

import pytest

from layerbench.optional_packages import is_installed


@pytest.mark.parametrize("module", ["json", "pytest", "layerbench.envs", "sys", "zipimport"])
def test_what_can_be_imported_is_installed(module: str) -> None:
    assert is_installed(module)


@pytest.mark.parametrize("module", ["no_such_package", "no_such_package.part", "json.no_such_part"])
def test_what_is_not_there_is_not(module: str) -> None:
    assert not is_installed(module)


def test_a_folder_of_that_name_is_no_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a_trackers_store" / "runs").mkdir(parents=True)
    monkeypatch.syspath_prepend(tmp_path)  # pyright: ignore[reportUnknownMemberType]
    assert not is_installed("a_trackers_store")
    (tmp_path / "a_trackers_store" / "__init__.py").touch()
    assert is_installed("a_trackers_store")
