"""Files of a run that a stranger wrote: bounded work, and one line that names them."""

import importlib
import json
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from layerbench.benchmarks.errors import FormatError, UserError
from layerbench.benchmarks.leaderboard import contributions
from layerbench.benchmarks.models import delta
from layerbench.benchmarks.records import (
    discover,
    episodes,
    json_codec,
    metrics_log,
    run_folder,
    run_names,
    run_record,
)
from layerbench.benchmarks.records.run_record import RunRecord
from layerbench.benchmarks.verify.report import check
from layerbench.hashing import file_sha256
from tests.support.record_example import example

# pyarrow has no type information.
pa: Any = importlib.import_module("pyarrow")
pq: Any = importlib.import_module("pyarrow.parquet")

# A pipe would be waited for until then.
pytestmark = pytest.mark.timeout(20)

READERS: list[tuple[str, Callable[[Path], object]]] = [
    ("config.yaml", lambda path: run_names.read_settings(path.parent)),
    ("record.json", run_record.read),
    ("metrics.jsonl", metrics_log.read),
    ("episodes.parquet", episodes.read),
    ("state.json", lambda path: run_folder.RunFolder(path.parent).first_state()),
    ("delta.json", lambda path: delta.read(path.parent)),
    ("weights.safetensors", file_sha256),
    ("board.json", lambda path: contributions.read(path)),
]


@pytest.mark.parametrize("content", [b"", b"\xff\x00\n", b"[1]\n", b'{"success": "no"}\n'])
def test_metrics_so_far_end_where_they_are_damaged(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"success": 0.5}\n' + content + b'{"success": 1.0}\n')
    assert len(metrics_log.read_so_far(path)) == (1 if content else 2)
    path.unlink()
    path.mkdir()
    assert metrics_log.read_so_far(path) == []


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    # Bound by a short name: a socket's path has 108 bytes at most.
    before = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(before)


def make_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def make_loop(path: Path) -> None:
    path.symlink_to(path)


@pytest.mark.parametrize("make", [make_pipe, make_socket, make_device, make_loop, Path.mkdir])
@pytest.mark.parametrize(("name", "read"), READERS)
def test_what_is_no_file_is_refused_at_once(
    tmp_path: Path, name: str, read: Callable[[Path], object], make: Callable[[Path], object]
) -> None:
    path = tmp_path / name
    make(path)
    if name == "board.json" and path.is_dir():
        pytest.skip("a folder may hold a sweep")
    start = time.monotonic()
    with pytest.raises((UserError, OSError)) as error:
        read(path)
    assert "\n" not in str(error.value)
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(("name", "read"), READERS)
def test_what_is_too_large_is_not_read(
    tmp_path: Path, name: str, read: Callable[[Path], object]
) -> None:
    path = tmp_path / name
    path.touch()
    # Sparse: it takes no room on the disk.
    os.truncate(path, 5 * 10**12)
    with pytest.raises(UserError, match=r"is larger than .* bytes, which no such file is"):
        read(path)


def aliases(levels: int) -> str:
    lines = ["a0: &a0 [x, x]"]
    lines += [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (aliases(40), r"it has references \(&name and \*name\)"),
        ("a: &a [*a]", "it has references"),
        ("[" * 5000, "it nests deeper than 16 levels"),
        ("a: 1\na: 2", "the key 'a' is there twice"),
        ("a: !!python/object:os.system x", "could not determine a constructor for the tag"),
        ("a: " + "9" * 5000, "is too long a number"),
        ("? [a]\n: b", "found unhashable key"),
        ("x" * 200_000, "is larger than 100,000 bytes"),
        ("a: \0", "special characters are not allowed"),
        ('a: "\\ud800"', "half of a surrogate pair"),
        ('"\\ud800": 1', "half of a surrogate pair"),
        ("\ud800", "is not"),
    ],
)
def test_settings_of_bad_form_are_refused_at_once(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "config.yaml").write_bytes(text.encode("utf-8", errors="surrogatepass"))
    start = time.monotonic()
    with pytest.raises(UserError, match=says if says != "is not" else "cannot be read") as error:
        run_names.read_settings(tmp_path)
    assert "\n" not in str(error.value)
    assert time.monotonic() - start < 5


Data = dict[str, Any]


CHANGES: list[tuple[Callable[[Data], object], str]] = [
    (lambda d: d["selection"].update(num_layers=10**9), "no model has that many"),
    (lambda d: d["selection"].update(layers=[10**9]), "does not have all of these"),
    (lambda d: d.update(seed=10**400), "seed is too large a number"),
    (lambda d: d.update(peak_memory_mb=10**400), "peak_memory_mb is too large a number"),
    (lambda d: d["training"]["seconds"].update(play=1e308), "too large a number"),
    (lambda d: d["training"]["seconds"].update(play=1e-320), "too small a number"),
    (lambda d: d.update(preset="x" * 2_000_000), "preset is too long a text"),
]


@pytest.mark.parametrize(("change", "says"), CHANGES)
def test_values_that_no_record_has_are_refused(change: Callable[[Data], object], says: str) -> None:
    data: Data = json.loads(example().to_json())
    change(data)
    with pytest.raises(FormatError, match=says):
        RunRecord.from_json(json.dumps(data))


def test_more_episodes_than_a_run_plays_are_refused() -> None:
    data: Data = json.loads(example().to_json())
    for evaluation in data["evaluations"]:
        counts = [evaluation["count"], *(o["count"] for o in evaluation["outcomes"])]
        for count in [*counts, *evaluation["by_type"].values()]:
            count.update(planned=count["planned"] * 10**15)
    with pytest.raises(FormatError, match=r"too large a number|no run plays more than 1000000"):
        RunRecord.from_json(json.dumps(data))


def test_a_bad_record_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    makers: dict[str, Callable[[Path], object]] = {
        "deep": lambda path: path.write_text("[" * 10**6),
        "digits": lambda path: path.write_text('{"schema": ' + "9" * 10**5 + "}"),
        "pipe": make_pipe,
        "folder": Path.mkdir,
        "loop": make_loop,
    }
    for name, make in makers.items():
        (tmp_path / name).mkdir()
        make(tmp_path / name / "record.json")
        (tmp_path / name / "config.yaml").touch()
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "record.json").write_text(example().to_json())
    runs = discover.find([tmp_path])
    assert [run.path.parent.name for run in runs.finished] == ["good"]
    assert {run.path.parent.name for run in runs.broken} == makers.keys()
    assert all(run.reason and "\n" not in run.reason for run in runs.broken)


@pytest.mark.parametrize("name", ["config.yaml", "metrics.jsonl", "episodes.parquet"])
@pytest.mark.parametrize("make", [Path.mkdir, make_pipe, make_loop])
def test_a_record_is_checked_beside_what_is_no_file(
    tmp_path: Path, name: str, make: Callable[[Path], object]
) -> None:
    (tmp_path / "record.json").write_text(example().to_json())
    make(tmp_path / name)
    report = check(tmp_path)
    assert all("\n" not in line for line in report.lines())


def test_a_key_that_is_there_twice_is_found_fast() -> None:
    keys = ", ".join(f'"{number}": 0' for number in range(200_000))
    start = time.monotonic()
    with pytest.raises(FormatError, match="the key '7' is there twice"):
        json_codec.parse(f'{{{keys}, "7": 0}}', where="x")
    assert time.monotonic() - start < 5


def test_a_small_table_that_unfolds_to_a_huge_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A text of a kilobyte, a hundred thousand times: a few kilobytes in the file.
    monkeypatch.setattr(episodes, "_MOST_DECODED", 50_000_000)
    row = dict.fromkeys(episodes.COLUMNS) | {"phase": "base", "observation": "x" * 1024}
    table = pa.Table.from_pylist([row], schema=pa.schema(list(episodes.COLUMNS.items())))
    pq.write_table(pa.concat_tables([table] * 100_000), tmp_path / "bomb.parquet")
    assert (tmp_path / "bomb.parquet").stat().st_size < 1_000_000
    with pytest.raises(FormatError, match="unfolds to more than 50,000,000 bytes"):
        episodes.read(tmp_path / "bomb.parquet")


def test_a_flipped_bit_of_a_table_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "episodes.parquet"
    row = dict.fromkeys(episodes.COLUMNS) | {"phase": "base", "observation": "x" * 99}
    pq.write_table(
        pa.Table.from_pylist([row], schema=pa.schema(list(episodes.COLUMNS.items()))), path
    )
    whole = path.read_bytes()
    for position in range(0, len(whole), 41):
        changed = bytearray(whole)
        changed[position] ^= 0x55
        path.write_bytes(changed)
        with pytest.raises(FormatError) as error:
            episodes.read(path)
        assert "\n" not in str(error.value)
