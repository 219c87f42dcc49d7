"""Exports the model that a run trained: whole, or as a delta to its base."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

from huggingface_hub import HfApi

# The Hub's library names the error of its HTTP package, which its versions have changed.
from huggingface_hub.errors import HTTPError  # pyright: ignore[reportPrivateImportUsage]
from safetensors import torch as safetensors
from torch import Tensor, nn

from layerbench.agents import prompts
from layerbench.agents.context import Tokenizer
from layerbench.agents.pretrained import taught_styles
from layerbench.agents.pretrained.loading import weights_hash
from layerbench.agents.types import ActionMode
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
    """Client of the Hugging Face Hub."""

    def create_repo(self, repo_id: str, *, exist_ok: bool) -> object:
        """Create a repository for a model unless it exists."""
        ...

    def upload_folder(self, *, repo_id: str, folder_path: Path, commit_message: str) -> object:
        """Upload a folder's files into a repository."""
        ...


@dataclass(frozen=True, slots=True)
class _TrainedModel:
    """A model to export.

    Attributes:
        record: Record of the run that trained last.
        base: The untrained model that the first run began with.
        model: The trained model.
        tokenizer: The base's tokenizer.
        changed: The parameters that any run trained, by name.
        before: Their values in the base, on the CPU.
    """

    record: RunRecord
    base: Base
    model: nn.Module
    tokenizer: Tokenizer
    changed: Mapping[str, nn.Parameter]
    before: Mapping[str, Tensor]


def export(run: Path, out: Path, *, whole: bool, public: bool) -> str:
    """Write the model that a run trained to a folder, atomically, and describe it in a line.

    Args:
        run: Folder of a finished run.
        out: Folder to write; missing or empty.
        whole: Write the whole model; else the parameters that training changed alone.
        public: The folder is for other machines, which have no local base models.

    Raises:
        UserError: The run is not finished or trained nothing, its base model has changed, or the
            folder cannot be written.
    """
    trained = _load(run)
    if public and not whole and model_card.is_local(trained.base.name):
        raise SettingsError(
            f"nobody else has {trained.base.name}, which the delta would be to: "
            "push the whole model (--merged)"
        )
    target = out.resolve()
    # Beside the target: a rename is atomic within one file system alone.
    draft = target.with_name(f".{target.name}.draft")
    try:
        # A killed export may have left one.
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        (_write_whole if whole else _write_delta)(trained, draft)
        card = model_card.write(trained.record, trained.base, whole=whole)
        (draft / "README.md").write_text(card, encoding="utf-8")
        # A rename replaces an empty folder, and fails on one that holds anything.
        draft.replace(target)
    except OSError as error:
        shutil.rmtree(draft, ignore_errors=True)
        raise SettingsError(f"{out} cannot be written: {error.strerror or error}") from error
    size = sum(path.stat().st_size for path in out.iterdir()) / 1e6
    form = "model" if whole else f"delta to {trained.base.name}"
    # Compared, not counted by the selection: a run may have taken no step.
    count = sum(
        int((parameter != trained.before[name]).sum())
        for name, parameter in trained.changed.items()
    )
    return f"{form} {out}  {count:,} changed parameters  {size:.1f} MB"


def push(folder: Path, repo: str, *, client: Hub | None = None) -> str:
    """Upload an exported folder to the Hub, and name its repository in a line.

    Args:
        folder: Folder written by ``export``.
        repo: Name of the repository; created if missing.
        client: Client of the Hub; None for that of its library.

    Raises:
        SettingsError: The upload failed; the folder stays.
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


def _load(run: Path) -> _TrainedModel:
    """Load a run's base model, and apply everything that runs have trained of it."""
    finished = finished_run.read(run)
    record = finished.record
    if not record.selection.parameters:
        raise SettingsError(f"the run in {run} trained nothing: there is nothing to export")
    config = finished.settings(command="export")
    settings = _model_of(finished, config)
    model, tokenizer = loading.load_base(settings)
    # Before apply_trained, which changes the weights in place: the delta's base is hashed here.
    base = _base(settings, model, record)
    before = loading.apply_trained(settings, model)
    if config.parts:
        num_layers = record.selection.num_layers
        assert num_layers is not None, "what was combined has layers"
        loading.check_parts(model, config.parts, num_layers=num_layers)
        combined = loading.combine(model, config.parts, num_layers=num_layers).tensors
        before = {**combined, **before}
    if weights_hash(model) != record.selection.weights_sha256:
        raise SettingsError(
            f"what lies in {run} does not make the model that its record has scored: train it anew"
        )
    parameters = dict(model.named_parameters())
    changed = {name: parameters[name] for name in before}
    return _TrainedModel(record, base, model, tokenizer, changed, before)


def _model_of(run: FinishedRun, config: RunConfig) -> ModelConfig:
    """Name the model that the run scored last: its checkpoint, or for a combined run the base."""
    # The settings may say auto; the hashes are of the weights in the recorded dtype.
    dtype = run.record.model.dtype
    settings = replace(config.model, dtype=dtype, device="cpu", attention="auto")
    return settings if config.parts else replace(settings, name=str(run.checkpoint()))


def _base(settings: ModelConfig, model: nn.Module, record: RunRecord) -> Base:
    source = lineage.lineage(settings.name, revision=settings.revision)
    # The commit that the branch pointed to when transformers downloaded it.
    commit = getattr(cast(Any, model).config, "_commit_hash", None)
    folder = Path(source.base)
    return Base(
        # Absolute, since a relative path would depend on where the delta is loaded.
        name=str(folder.resolve()) if model_card.is_local(source.base) else source.base,
        revision=str(commit or source.revision),
        dtype=record.model.dtype,
        weights_sha256=weights_hash(model),
    )


def _write_whole(trained: _TrainedModel, folder: Path) -> None:
    cast(Any, trained.model).save_pretrained(folder)
    cast(Any, trained.tokenizer).save_pretrained(folder)
    agent: Mapping[str, str] = trained.record.settings["agent"]
    # Free text is prompted in the chat style, or in a file's words, which the folder lacks.
    if agent["action_mode"] == ActionMode.CHOOSE and agent["style"] != prompts.FILE:
        taught_styles.write(folder, {trained.record.env.name: agent["style"]})


def _write_delta(trained: _TrainedModel, folder: Path) -> None:
    path = folder / delta.WEIGHTS
    # safetensors refuses tensors that are not contiguous.
    tensors = {name: p.detach().contiguous() for name, p in trained.changed.items()}
    safetensors.save_file(tensors, path)  # pyright: ignore[reportUnknownMemberType]
    json_codec.write(
        folder / delta.FACTS,
        Delta(
            schema=delta.SCHEMA,
            base=trained.base,
            layers=trained.record.selection.name,
            weights_sha256=trained.record.selection.weights_sha256,
            file_sha256=file_sha256(path),
        ),
    )
