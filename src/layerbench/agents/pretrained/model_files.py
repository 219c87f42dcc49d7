"""What decides of a model's files how it plays, as hashes by which equal models are known."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from layerbench import untrusted_files
from layerbench.agents.pretrained import names
from layerbench.envs.cache import remembered
from layerbench.errors import UserError
from layerbench.hashing import file_sha256

WEIGHTS = "weights"
"""The part of the weights; which bytes these files have says less than the loaded weights do."""

_WHOLE, _INDEX = "model.safetensors", "model.safetensors.index.json"
_ADAPTER = "adapter_model.safetensors"
_TOKENIZER_CONFIG, _TEMPLATE = "tokenizer_config.json", "chat_template.jinja"
_TOKENIZER = (
    *("tokenizer.json", "tokenizer.model", "tokenizer.model.v3", "special_tokens_map.json"),
    *("added_tokens.json", "vocab*", "merges.txt", "normalizer.json", "*.tiktoken", "*.spm"),
    *("spiece.model", "sentencepiece*.model", "source.spm", "target.spm", "tekken.json"),
)
# They say where a model was saved, and by which version.
_IMMATERIAL = frozenset({"_name_or_path", "name_or_path", "transformers_version", "_commit_hash"})
# Bytes; the largest known, with a template in it, is a hundredth.
_LARGEST_JSON = 100_000_000


def folder_of(name: str, *, revision: str) -> Path | None:
    """Find the folder of a model that is not a run's; None if it is not on this machine.

    Args:
        name: A name in ``layerbench.agents.pretrained.names``, a folder, or a name on the Hub.
        revision: Branch, tag or commit on the Hub.
    """
    if names.is_known(name):
        try:
            return Path(names.resolve(name))
        except UserError:
            return None
    if Path(name).is_dir():
        return Path(name)
    return _snapshot(name, revision)


def hashes(folder: Path) -> dict[str, str] | None:
    """Hash what decides, by part: weights, config, tokenizer, chat template and others.

    Links are followed, and the result is cached until a file appears, disappears or changes.

    Returns:
        SHA-256 by part, without the parts of which there is no file; None if weights or
        configuration are missing.

    Raises:
        UserError: A file cannot be read.
    """
    try:
        files = _files(folder)
        found: dict[str, str] = remembered("models/files", files, lambda: _hash(folder, files))
    except OSError as error:
        raise UserError(f"{error.filename or folder} cannot be read: {error.strerror}") from error
    return dict(found) if {WEIGHTS, "config"} <= found.keys() else None


def combined(digests: Iterable[object]) -> str:
    """Hash a list of hashes, or of anything else that JSON can write."""
    return hashlib.sha256(json.dumps(list(digests), sort_keys=True).encode()).hexdigest()


def _snapshot(name: str, revision: str) -> Path | None:
    """Find the local copy of a model on the Hub, without network."""
    # Not at the top: few models are on the Hub, and it takes a while.
    from huggingface_hub import snapshot_download  # noqa: PLC0415  # pyright: ignore[reportUnknownVariableType]
    from huggingface_hub.errors import (  # noqa: PLC0415
        HFValidationError,
        LocalEntryNotFoundError,
    )

    try:
        return Path(snapshot_download(name, revision=revision, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError, OSError):
        return None


def _files(folder: Path) -> list[Path]:
    """List the files that decide, in the order of their names."""
    patterns = (
        *("config.json", "adapter_config.json", "generation_config.json", "*.py"),
        *(_TOKENIZER_CONFIG, _TEMPLATE, "chat_template.json", "additional_chat_templates/*.jinja"),
        *_TOKENIZER,
    )
    found = {path for pattern in patterns for path in folder.glob(pattern) if path.is_file()}
    return sorted(found | set(_weight_files(folder)))


def _weight_files(folder: Path) -> Iterator[Path]:
    """List the files of weights that transformers loads; others may lie beside them."""
    if (folder / _ADAPTER).exists():
        yield folder / _ADAPTER
    if (folder / _WHOLE).exists():
        yield folder / _WHOLE
    elif (folder / _INDEX).exists():
        yield folder / _INDEX
        index = _read(folder / _INDEX)
        fields = cast(dict[str, Any], index if isinstance(index, dict) else {})
        shards = fields.get("weight_map")
        if isinstance(shards, dict):
            names_there = {str(name) for name in cast(dict[str, object], shards).values()}
            # The folder may be a stranger's, and name files elsewhere, or devices without end.
            yield from (folder / name for name in names_there if Path(name).name == name)


def _hash(folder: Path, files: list[Path]) -> dict[str, str]:
    parts: dict[str, list[tuple[str, object]]] = {}
    for path in files:
        name = path.relative_to(folder).as_posix()
        for part, content in _contents(name, path):
            parts.setdefault(part, []).append((name, content))
    if templates := parts.get("chat_template"):
        parts["chat_template"] = _effective(templates)
    return {part: combined(contents) for part, contents in sorted(parts.items())}


def _contents(name: str, path: Path) -> Iterator[tuple[str, object]]:
    """Split a file into the parts that it belongs to, with what decides of each."""
    if path.suffix == ".py":
        yield "code", file_sha256(path)
    elif name in ("config.json", "adapter_config.json"):
        yield "config", _without_origin(_read(path))
    elif name == "generation_config.json":
        yield "generation_config", _without_origin(_read(path))
    elif name == _TOKENIZER_CONFIG:
        data = _without_origin(_read(path))
        if isinstance(data, dict):
            template = cast(dict[str, Any], data).pop("chat_template", None)
            if template is not None:
                yield "chat_template", template
        yield "tokenizer", cast(object, data)
    elif path.suffix == ".jinja" or name == "chat_template.json":
        yield "chat_template", untrusted_files.read_bytes(path, most=_LARGEST_JSON).hex()
    elif path.suffix == ".safetensors" or name == _INDEX:
        yield WEIGHTS, file_sha256(path)
    else:
        yield "tokenizer", file_sha256(path)


def _effective(templates: list[tuple[str, object]]) -> list[tuple[str, object]]:
    """Leave out the template in the tokenizer's configuration that one of its own replaces."""
    has_own = any(name == _TEMPLATE for name, _ in templates)
    return [(n, content) for n, content in templates if n != _TOKENIZER_CONFIG or not has_own]


def _read(path: Path) -> object:
    """Read JSON; its bytes where it is none, of which loading the model will say more."""
    content = untrusted_files.read_bytes(path, most=_LARGEST_JSON)
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return content.hex()


def _without_origin(data: object) -> object:
    if not isinstance(data, dict):
        return data
    fields = cast(Mapping[str, object], data)
    return {name: value for name, value in fields.items() if name not in _IMMATERIAL}
