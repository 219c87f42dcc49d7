"""What names a published catalogue, through links, and what its damaged files say."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from layerbench.envs import registry
from layerbench.envs.webshop.catalogue import published, synthetic
from layerbench.envs.webshop.env import WebShopEnv
from layerbench.errors import UserError

SPEC = registry.find("webshop")
PRODUCTS, ATTRIBUTES = "items_shuffle_1000.json", "items_ins_v2_1000.json"
FILES = (PRODUCTS, ATTRIBUTES, published.HUMAN_FILE, published.NOUNS_FILE)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small catalogue in the form of the published one."""
    folder = tmp_path_factory.mktemp("catalogue")
    synthetic.write(folder, num_products=60, seed=1)
    asin = json.loads((folder / PRODUCTS).read_text())[0]["asin"]
    goal = {
        "instruction": "a thing",
        "instruction_attributes": ["small"],
        "instruction_options": [],
    }
    (folder / published.HUMAN_FILE).write_text(json.dumps({asin: [goal]}))
    return folder


@pytest.fixture
def copy(data: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(data, tmp_path / "copy"))


def source(folder: Path | str, goals: str = "synthetic") -> str:
    options = {"data_dir": str(folder), "goal_source": goals}
    return registry.describe(SPEC, options, splits=("train", "test")).source


def test_the_source_is_a_whole_hash_of_what_was_played(data: Path, copy: Path) -> None:
    name = source(data)
    assert name.startswith("webshop-")
    assert len(name) == len("webshop-") + 64
    assert source(copy) == source(os.path.relpath(copy)) == source(f"{copy}/../copy") == name
    (copy.parent / "link").symlink_to(copy)
    assert source(copy.parent / "link") == name
    assert source(copy, "human") not in (name, source(copy))


@pytest.mark.parametrize("file", FILES)
def test_an_edit_gives_another_source_where_it_decides(copy: Path, file: str) -> None:
    before = {goals: source(copy, goals) for goals in ("synthetic", "human")}
    path = copy / file
    path.write_text(f"{path.read_text()}\n")
    assert source(copy, "human") != before["human"]
    # What people wrote is part of no synthetic goal.
    assert (source(copy) == before["synthetic"]) == (file == published.HUMAN_FILE)


def test_an_environment_made_after_an_edit_has_the_new_catalogue(copy: Path) -> None:
    first, _ = WebShopEnv(data_dir=copy).reset(options={"goal_index": 0})
    path = copy / ATTRIBUTES
    path.write_text(path.read_text().replace("Instruction", "X").replace("looking", "searching"))
    instructions = json.loads(path.read_text())
    for known in instructions.values():
        if known.get("instruction"):
            known["instruction"] = "edited goal"
    path.write_text(json.dumps(instructions))
    second, _ = WebShopEnv(data_dir=copy).reset(options={"goal_index": 0})
    assert "edited goal" not in first
    assert "edited goal" in second


@pytest.mark.parametrize("file", FILES)
def test_files_may_be_links_to_elsewhere(data: Path, copy: Path, file: str) -> None:
    blob = copy.parent / f"blob-{file}"
    shutil.move(copy / file, blob)
    (copy / file).symlink_to(blob)
    assert source(copy, "human") == source(data, "human")


def as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def as_link(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.parent / "nowhere")


def as_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def cut(path: Path) -> None:
    text = path.read_text()
    path.write_text(text[: len(text) // 2])


def written(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def marked(path: Path) -> None:
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())


def not_utf8(path: Path) -> None:
    content = path.read_bytes()
    at = content.index(b'"')
    path.write_bytes(content[: at + 1] + b"\xff" + content[at + 1 :])


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"
DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "lfs": (written(LFS), "is a Git LFS pointer, not the file: run git lfs pull"),
    "annex": (written(b"/annex/objects/SHA256E-s1--0\n"), "is a git-annex pointer"),
    "empty": (written(b""), "is empty"),
    "mark": (marked, "begins with a byte order mark"),
    "folder": (as_folder, "is a folder"),
    "link": (as_link, "is a link that leads nowhere"),
    "pipe": (as_pipe, "is no regular file"),
    "cut": (cut, ""),
    "not utf-8": (not_utf8, ""),
    "deep": (written(b'{"a":' + b"[" * 100_000), ""),
    "deep list": (written(b"[" * 100_000), ""),
    "number": (written(b"17"), ""),
    "other types": (written(b'{"B0": 7, "B1": ["x", 1, {"y": 2}]}'), ""),
    "list of other types": (written(b'[{"asin": 7}]'), ""),
}


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_file_is_named_with_what_it_is(copy: Path, file: str, kind: str) -> None:
    damage, says = DAMAGE[kind]
    if kind == "other types" and file in (ATTRIBUTES, published.HUMAN_FILE):
        pytest.skip("these products are not in the catalogue, so nothing reads their entries")
    damage(copy / file)
    with pytest.raises(UserError) as told:
        WebShopEnv(data_dir=copy)
    assert file in str(told.value)
    assert says in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("file", [ATTRIBUTES, published.HUMAN_FILE])
@pytest.mark.parametrize(
    "entry",
    [
        7,
        [7],
        {"attributes": 7},
        {"attributes": [7]},
        [{"instruction": 7, "instruction_attributes": ["a"], "instruction_options": []}],
        [{"instruction": "a", "instruction_attributes": "ab", "instruction_options": []}],
    ],
)
def test_an_entry_of_another_type_is_named_by_its_file(
    copy: Path, file: str, entry: object
) -> None:
    asin = json.loads((copy / PRODUCTS).read_text())[0]["asin"]
    (copy / file).write_text(json.dumps({asin: entry}))
    with pytest.raises(UserError) as told:
        WebShopEnv(data_dir=copy)
    assert file in str(told.value)
    assert "\n" not in str(told.value)
