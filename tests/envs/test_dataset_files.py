"""Data sets are read from each form of file, and what is none is refused in one line."""

import gzip
import json
from pathlib import Path

import pyarrow as pa  # pyright: ignore[reportMissingTypeStubs]
import pyarrow.parquet as pq  # pyright: ignore[reportMissingTypeStubs]
import pytest

from layerbench.envs.data_files import DataFileError
from layerbench.envs.dataset_files import read_rows
from layerbench.hashing import file_sha256

ROWS = [{"question": "1 + 1?", "answer": "2"}, {"question": "é?", "answer": "3"}]


def _write(folder: Path, name: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    if name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(ROWS), path)  # pyright: ignore
    elif name.endswith(".gz"):
        path.write_bytes(gzip.compress(lines.encode()))
    else:
        path.write_text(json.dumps(ROWS) if name.endswith(".json") else lines + "\n")
    return path


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.json", "a.parquet"])
def test_each_form_gives_the_rows_and_the_files_hash(tmp_path: Path, name: str) -> None:
    path = _write(tmp_path, name)
    found = read_rows(str(path))
    assert [*found.rows] == ROWS
    assert (found.sha256, found.revision) == (file_sha256(path), "")


def test_a_folder_has_splits_by_the_names_of_files(tmp_path: Path) -> None:
    for name in ("main/train-00000.parquet", "main/train-00001.parquet", "test.jsonl", "note.txt"):
        _write(tmp_path, name)
    assert len(read_rows(str(tmp_path), split="train").rows) == 4
    assert len(read_rows(str(tmp_path), split="test").rows) == 2
    with pytest.raises(DataFileError, match=r"no data files of split 'tes': it has main/train-0"):
        read_rows(str(tmp_path), split="tes")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataFileError, match=r"none that can be read \(\.jsonl, "):
        read_rows(str(tmp_path / "empty"))


def test_columns_leave_others_of_parquet_out(tmp_path: Path) -> None:
    path = _write(tmp_path, "a.parquet")
    first, second = read_rows(str(path), columns=["answer", "other"]).rows
    # The first row names them, without what they hold.
    assert (first, second) == ({"question": None, "answer": "2"}, {"answer": "3"})


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.jsonl", b'{"a": 1}\n{"a": ', "damaged or of another form"),
        ("a.jsonl", b"[1]\n", r"line 1: it is no object: name a file that is one list \.json"),
        ("a.jsonl", b'{"a": 1}\n7\n', "line 2: it is no object$"),
        ("a.jsonl", b'{"a": 1}\n{"a"\n{"a": 1}\n', "line 2, column 5: "),
        ("a.jsonl", b'{"a": ' + b"9" * 5_000 + b"}", "line 1: Exceeds the limit"),
        ("a.jsonl", b'{"a": 1}\n{"a": "\xe9"}\n', "it is no text in UTF-8"),
        ("a.json", b'{"a": 1}\n{"a": 1}\n', r"name a file with one object a line \.jsonl"),
        ("a.jsonl", b"\xff\x00\n", "damaged or of another form"),
        ("a.json", b"[" * 100_000, "damaged or of another form"),
        ("a.json", b"7", "no list of objects"),
        ("a.json", b"[]", "no list of objects"),
        ("a.jsonl.gz", gzip.compress(bytes(range(256)) * 9)[:40] + b"x" * 99, "damaged or of an"),
        ("a.parquet", b"PAR1 and no more", "damaged or of another form"),
        ("a.jsonl.gz", gzip.compress(b'{"a": 1}\n', mtime=0)[:-6], "damaged or of another form"),
        ("a.csv", b"a,b\n", "not named as a data file"),
        ("a.jsonl", b"", "is empty"),
        ("a.jsonl", b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataFileError, match=reason) as error:
        read_rows(str(path))
    assert "\n" not in str(error.value)


def test_a_missing_file_is_no_name_on_the_hub(tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match="there is no file"):
        read_rows(str(tmp_path / "a.jsonl"))
    with pytest.raises(DataFileError, match="there is no file"):
        read_rows("owner/name.parquet")


def test_the_hub_is_read_from_its_cache_without_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = "0123456789012345678901234567890123456789"
    cached = tmp_path / "datasets--owner--name"
    _write(cached / "snapshots" / commit, "main/test.jsonl")
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub._snapshot_download.constants.HF_HUB_OFFLINE", True)
    found = read_rows("owner/name:main/*", split="test")
    assert ([*found.rows], found.revision) == (ROWS, commit)
    with pytest.raises(DataFileError, match="cannot be had from the Hub"):
        read_rows("owner/other", split="test")
