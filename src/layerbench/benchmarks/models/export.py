"""A run's trained model written for others: whole, or as a delta to its base."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

from huggingface_hub import HfApi

# Of one package or another, by the version of the Hub's library.
from huggingface_hub.errors import HTTPError  # pyright: ignore[reportPrivateImportUsage]
from safetensors import torch as safetensors
from torch import nn

from layerbench.agents.context import Tokenizer
from layerbench.agents.pretrained.loading import weights_hash
from layerbench.benchmarks.config.schema import ModelConfig, RunConfig
from layerbench.benchmarks.errors import SettingsError
from layerbench.benchmarks.models import delta, finished_run, lineage, loading, model_card
from layerbench.benchmarks.models.delta import Base, Delta
from layerbench.benchmarks.models.finished_run import FinishedRun
from layerbench.benchmarks.records import json_codec
from layerbench.benchmarks.records.run_record import RunRecord
from layerbench.hashing import file_sha256


@runtime_checkable
class Hub(Protocol):
    """What is asked of the Hugging Face Hub's client."""

    def create_repo(self, repo_id: str, *, exist_ok: bool) -> object:
        """Make a repository for a model, or leave the one that is there."""
        ...

    def upload_folder(self, *, repo_id: str, folder_path: Path, commit_message: str) -> object:
        """Put a folder's files into it."""
        ...


@dataclass(frozen=True, slots=True)
class _Subject:
    """What is exported.

    Attributes:
        record: Of the run that trained last.
        base: The model that training began with.
        model: With what was trained in it.
        tokenizer: The base's.
        trained: The parameters that any run changed, by name.
    """

    record: RunRecord
    base: Base
    model: nn.Module
    tokenizer: Tokenizer
    trained: Mapping[str, nn.Parameter]


def export(run: Path, out: Path, *, whole: bool, public: bool) -> str:
    """Write what a run trained to a folder, whole or not at all, and say what was written.

    Args:
        run: Folder of a finished run.
        out: Folder that is not there, or is empty.
        whole: Write the whole model; else the parameters that training changed alone.
        public: It goes where this machine's folders are not.

    Raises:
        UserError: The run is not finished or trained nothing, its base model is not what it was,
            or the folder cannot be written.
    """
    subject = _read(run)
    if public and not whole and model_card.is_local(subject.base.name):
        raise SettingsError(
            f"nobody else has {subject.base.name}, which the delta would be to: "
            "push the whole model (--merged)"
        )
    place = out.resolve()
    draft = place.with_name(f".{place.name}.draft")
    try:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        (_write_whole if whole else _write_delta)(subject, draft)
        card = model_card.write(subject.record, subject.base, whole=whole)
        (draft / "README.md").write_text(card, encoding="utf-8")
        draft.replace(place)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise SettingsError(f"{out} cannot be written: {error.strerror or error}") from error
    size = sum(path.stat().st_size for path in out.iterdir()) / 1e6
    what = "model" if whole else f"delta to {subject.base.name}"
    count = sum(parameter.numel() for parameter in subject.trained.values())
    return f"{what} {out}  {count:,} changed parameters  {size:.1f} MB"


def push(folder: Path, repo: str, *, client: Hub | None = None) -> str:
    """Upload an exported folder, and say where it is.

    Args:
        folder: What ``export`` wrote.
        repo: On the Hub; made if it is not there.
        client: Of the Hub; its own library's unless given.

    Raises:
        SettingsError: The Hub took nothing; the folder stays.
    """
    hub = client if client is not None else cast(Hub, HfApi())
    try:
        hub.create_repo(repo, exist_ok=True)
        hub.upload_folder(
            repo_id=repo, folder_path=folder, commit_message="Upload with layerbench export"
        )
    except (OSError, ValueError, HTTPError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise SettingsError(f"{folder} is written, but {repo} did not take it: {reason}") from error
    return f"pushed to {repo}"


def _read(run: Path) -> _Subject:
    """Load a run's base model, and put into it all that was trained of it."""
    finished = finished_run.read(run)
    record = finished.record
    if not record.selection.parameters:
        raise SettingsError(f"the run in {run} trained nothing: there is nothing to export")
    config = finished.settings(command="export")
    settings = _model_of(finished, config)
    model, tokenizer = loading.load_base(settings)
    base = _base(settings, model, record)
    names = dict.fromkeys(loading.put_trained(settings, model))
    if config.parts:
        num_layers = record.selection.num_layers
        assert num_layers is not None, "what was combined has layers"
        loading.check_parts(model, config.parts, num_layers=num_layers)
        names |= dict.fromkeys(loading.combine(model, config.parts, num_layers=num_layers).tensors)
    if weights_hash(model) != record.selection.weights_sha256:
        raise SettingsError(
            f"what lies in {run} does not make the model that its record has scored: train it anew"
        )
    parameters = dict(model.named_parameters())
    return _Subject(record, base, model, tokenizer, {name: parameters[name] for name in names})


def _model_of(run: FinishedRun, config: RunConfig) -> ModelConfig:
    """Name the model that the run scored last; a combined one has no checkpoint of its own."""
    dtype = run.record.model.dtype
    settings = replace(config.model, dtype=dtype, device="cpu", attention="auto")
    return settings if config.parts else replace(settings, name=str(run.checkpoint()))


def _base(settings: ModelConfig, model: nn.Module, record: RunRecord) -> Base:
    source = lineage.lineage(settings.name, revision=settings.revision)
    # Where a branch pointed to when it was downloaded.
    commit = getattr(cast(Any, model).config, "_commit_hash", None)
    folder = Path(source.base)
    return Base(
        # From wherever it is loaded.
        name=str(folder.resolve()) if model_card.is_local(source.base) else source.base,
        revision=str(commit or source.revision),
        dtype=record.model.dtype,
        weights_sha256=weights_hash(model),
    )


def _write_whole(subject: _Subject, folder: Path) -> None:
    cast(Any, subject.model).save_pretrained(folder)
    cast(Any, subject.tokenizer).save_pretrained(folder)


def _write_delta(subject: _Subject, folder: Path) -> None:
    path = folder / delta.WEIGHTS
    tensors = {name: p.detach().contiguous() for name, p in subject.trained.items()}
    safetensors.save_file(tensors, path)  # pyright: ignore[reportUnknownMemberType]
    json_codec.write(
        folder / delta.FACTS,
        Delta(
            schema=delta.SCHEMA,
            base=subject.base,
            layers=subject.record.selection.name,
            weights_sha256=subject.record.selection.weights_sha256,
            file_sha256=file_sha256(path),
        ),
    )
