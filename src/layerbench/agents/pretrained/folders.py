"""Checks of a model's folder: what is damaged in it is named before transformers meets it.

A folder may be a stranger's: nothing in it is executed but its chat template, in transformers'
sandbox and for a limited time.
"""

import json
import math
import re
import signal
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from tokenizers import Tokenizer as FastTokenizer
from torch import nn

from layerbench.agents.context import Tokenizer
from layerbench.errors import UserError

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
TEMPLATE_LIMIT_S = 10
"""Seconds that a chat template may take for a message of a few words."""

_JSON_FILES = (CONFIG, "generation_config.json", "tokenizer_config.json", "tokenizer.json")
# Files of vocabularies, one of which every tokenizer has.
_TOKENIZER = re.compile(
    r"(tokenizer\.|tokenization|vocab|spiece|sentencepiece|tekken|source\.spm).*|.*\.tiktoken"
)
_MAX_LAYERS = 10_000


def check_config(folder: Path) -> None:
    """Make sure that a folder's JSON files are JSON, and its number of layers is one.

    Raises:
        UserError: One is not; the message names the file.
    """
    for name in _JSON_FILES:
        path = folder / name
        if name == CONFIG or path.exists():
            data = _read_json(path)
            layers = data.get("num_hidden_layers", 1)
            # Building them takes time and memory, even without their weights.
            if not isinstance(layers, int) or not 1 <= layers <= _MAX_LAYERS:
                raise UserError(
                    f"{path} has num_hidden_layers {str(layers)[:20]}, of which no model is"
                )


def check_files(folder: Path) -> int:
    """Make sure that a folder's weights are whole safetensors, and its tokenizer can be read.

    Returns:
        The number of weights in it.

    Raises:
        UserError: A file is missing, cut off or something else; the message names it.
    """
    check_config(folder)
    count = sum(map(_count_weights, _weight_files(folder)))
    # transformers would make an empty one.
    if not any(_TOKENIZER.fullmatch(path.name) for path in folder.iterdir()):
        raise UserError(f"{folder} has no tokenizer (tokenizer.json): copy that of the model")
    tokenizer = folder / "tokenizer.json"
    if tokenizer.exists():
        try:
            FastTokenizer.from_file(str(_file(tokenizer)))
        # tokenizers raises the class Exception itself, for whatever is wrong in that file.
        except Exception as error:
            raise UserError(f"{tokenizer} is no tokenizer: {_line(error)}") from error
    return count


def check_size(name: str, skeleton: nn.Module, *, stored: int) -> None:
    """Make sure that a model is not far larger than its files, before memory is taken for it.

    Raises:
        UserError: Its configuration describes more than twice the weights that were stored.
    """
    described = sum(weight.numel() for weight in skeleton.parameters())
    # Twice, since a tied head is stored once.
    if described > 2 * stored:
        raise UserError(
            f"the {CONFIG} of model '{name}' describes {described:,} weights, but its files have "
            f"{stored:,}: they are incomplete, or of another model"
        )


def check_loaded(
    name: str, model: nn.Module, tokenizer: Tokenizer, report: Mapping[str, Any]
) -> None:
    """Make sure that a model, its tokenizer and its chat template are whole, and of one another.

    Args:
        name: Name of the model, for errors.
        model: The model.
        tokenizer: Its tokenizer.
        report: What transformers says of the tensors that it loaded (``output_loading_info``).

    Raises:
        UserError: They are not.
    """
    _check_weights(name, model, report)
    _check_vocabulary(name, model, tokenizer)
    _check_template(name, tokenizer)


def _check_weights(name: str, model: nn.Module, report: Mapping[str, Any]) -> None:
    """Make sure that every weight was loaded from a tensor of its shape, and is a number.

    Args:
        name: Name of the model, for errors.
        model: The model.
        report: What transformers says of the tensors that it loaded (``output_loading_info``).

    Raises:
        UserError: Weights are missing, of other shapes, NaN or infinite. Else transformers would
            draw what is missing at random.
    """
    if mismatched := sorted(map(str, report.get("mismatched_keys", ()))):
        raise UserError(
            f"model '{name}' has {len(mismatched)} tensors of other shapes than its {CONFIG} says, "
            f"such as {mismatched[0]}: the two are of different models"
        )
    if missing := sorted(report.get("missing_keys", ())):
        raise UserError(
            f"model '{name}' lacks {len(missing)} of the weights that its {CONFIG} describes, such "
            f"as {missing[0]}: its files are incomplete, or of another kind of model"
        )
    for key, weight in model.named_parameters():
        if not weight.is_meta and not bool(torch.isfinite(weight).all()):
            raise UserError(
                f"model '{name}' has weights that are no finite numbers, in {key}: take another "
                "model, or another model.dtype if it was converted"
            )


def _check_vocabulary(name: str, model: nn.Module, tokenizer: Tokenizer) -> None:
    """Make sure that the model has an embedding for every token of the vocabulary.

    Raises:
        UserError: It has fewer.
    """
    # Without added tokens: some models' tokenizers have those of images, which no text becomes.
    size: int = getattr(tokenizer, "vocab_size", 0)
    embeddings = cast(Any, model).get_input_embeddings().weight.shape[0]
    if size > embeddings:
        raise UserError(
            f"the tokenizer of model '{name}' has {size} tokens, but the model knows {embeddings}: "
            "the two are of different models"
        )


def _check_template(name: str, tokenizer: Tokenizer) -> None:
    """Render short chats by a tokenizer's template, if it has one.

    Raises:
        UserError: It has an error, or does not end in ``TEMPLATE_LIMIT_S``.
    """
    if not getattr(tokenizer, "chat_template", None):
        return
    user, answer = {"role": "user", "content": "look"}, {"role": "assistant", "content": "look"}
    chats = ([user], [user, answer, user], [{"role": "system", "content": "play"}, user])
    for chat in chats:
        for thinks in (False, True):
            try:
                with _time_limit():
                    tokenizer.apply_chat_template(
                        chat, tokenize=False, add_generation_prompt=True, enable_thinking=thinks
                    )
            except _OutOfTimeError as error:
                raise UserError(
                    f"the chat template of model '{name}' takes more than {TEMPLATE_LIMIT_S} s for "
                    "a chat of a few words: mend it (chat_template.jinja or tokenizer_config.json)"
                ) from error
            # A template is a program: it can raise anything. Some refuse systems or answers, which
            # is for ``ChatFormat`` to say.
            except Exception as error:
                if chat is chats[0]:
                    raise UserError(
                        f"the chat template of model '{name}' cannot render a message: "
                        f"{type(error).__name__}: {_line(error)}"
                    ) from error


class _OutOfTimeError(Exception):
    """The time limit has passed."""


@contextmanager
def _time_limit() -> Generator[None]:
    """Interrupt Python code after ``TEMPLATE_LIMIT_S``; only in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_signal: int, _frame: object) -> None:
        raise _OutOfTimeError

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, TEMPLATE_LIMIT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _weight_files(folder: Path) -> Sequence[Path]:
    """List the files of weights that transformers would read."""
    index = folder / INDEX
    if (folder / WEIGHTS).exists():
        return [folder / WEIGHTS]
    if not index.exists():
        raise UserError(
            f"{folder} has no weights: neither {WEIGHTS} nor {INDEX}; pickled weights must be "
            "converted to safetensors"
        )
    shards: object = _read_json(index).get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise UserError(f"{index} names no files (weight_map)")
    names = sorted({str(name) for name in cast(dict[str, object], shards).values()})
    for name in names:
        if Path(name).name != name:
            raise UserError(f"{index} names {name[:100]!r}, which is not in that folder")
        if not (folder / name).exists():
            raise UserError(f"{folder / name} is missing, which {index.name} names: download it")
    return [folder / name for name in names]


def _count_weights(path: Path) -> int:
    try:
        # Opening it reads the header, and compares the sizes there with the file's.
        with cast(Any, safe_open)(_file(path), framework="pt") as file:
            shapes: list[list[int]] = [file.get_slice(key).get_shape() for key in file.keys()]  # noqa: SIM118
            return sum(map(math.prod, shapes))
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{path} is no whole file of safetensors ({_line(error)}): copy or download it again; "
            "pickled weights must be converted"
        ) from error


def _file(path: Path) -> Path:
    # A pipe would be waited for.
    if not path.is_file():
        raise UserError(f"{path} is no file: copy or download it again")
    return path


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data: Any = json.loads(_file(path).read_text(encoding="utf-8"))
    except UserError:
        raise
    except (ValueError, RecursionError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"no JSON: {_line(error)}"
        raise UserError(f"{path} cannot be read ({reason}): copy or download it again") from error
    if not isinstance(data, dict):
        raise UserError(f"{path} is no JSON object: copy or download it again")
    return cast(dict[str, Any], data)


def _line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0][:300]
