import os
from pathlib import Path

import pytest

from layerbench.agents.pretrained import taught_styles
from layerbench.errors import UserError


def test_styles_are_read_as_they_were_written(tmp_path: Path) -> None:
    styles = {"math": "plain", "webshop": "compact-webshop"}
    taught_styles.write(tmp_path, styles)
    assert taught_styles.read(tmp_path) == styles


@pytest.mark.parametrize("name", ["", "org/model", "nowhere/at/all", "file/below"])
def test_a_name_that_is_no_such_folder_has_none(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    assert taught_styles.read(Path(name)) == {}


@pytest.mark.parametrize("text", ["{", "[]", '{"math": 3}', '"plain"', "[" * 100_000, "\xff"])
def test_a_damaged_file_is_one_line_that_names_it(text: str, tmp_path: Path) -> None:
    (tmp_path / taught_styles.FILE).write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=r"prompt_styles\.json .*: delete it") as raised:
        taught_styles.read(tmp_path)
    assert "\n" not in str(raised.value)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / taught_styles.FILE)
    with pytest.raises(UserError, match=r"prompt_styles\.json is a pipe"):
        taught_styles.read(tmp_path)
