"""Rows are read as written, and folders of the cache are built once, whole or not at all."""

import threading
import time
from pathlib import Path

import pytest

from layerbench.envs.cache import CacheError, make_once
from layerbench.envs.webshop.row_file import Rows, write_rows


def test_rows_come_back_as_written(tmp_path: Path) -> None:
    rows = [["a", 1.5, None], {"b": "\u00fc\ud83d"}, []]
    assert write_rows(tmp_path / "rows.jsonl", iter(rows)) == 3
    read = Rows(tmp_path / "rows.jsonl")
    assert [read[number] for number in range(len(read))] == rows


def test_no_rows_are_no_rows(tmp_path: Path) -> None:
    assert write_rows(tmp_path / "rows.jsonl", []) == 0
    assert len(Rows(tmp_path / "rows.jsonl")) == 0


def test_a_folder_is_built_once_however_many_want_it(tmp_path: Path) -> None:
    built: list[Path] = []

    def build(empty: Path) -> None:
        built.append(empty)
        time.sleep(0.05)
        (empty / "file").write_text("done")

    folder = tmp_path / "deep" / "folder"
    threads = [threading.Thread(target=make_once, args=(folder, build)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1
    assert (folder / "file").read_text() == "done"


def test_a_build_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def build(empty: Path) -> None:
        (empty / "file").write_text("half")
        raise RuntimeError("out of luck")

    with pytest.raises(RuntimeError, match="out of luck"):
        make_once(tmp_path / "folder", build)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.lock"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CacheError, match="point \\$LAYERBENCH_CACHE to a folder with room"):
        make_once(tmp_path / "file" / "folder", lambda _empty: None)
