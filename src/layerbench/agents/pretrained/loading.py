"""Causal language models and their tokenizers, loaded by name; hashes of their weights."""

import hashlib
from pathlib import Path
from typing import Any, cast

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from layerbench.agents import torchrun
from layerbench.agents.context import Tokenizer
from layerbench.agents.pretrained import folders, names
from layerbench.agents.pretrained.embedded import EMBEDDED
from layerbench.errors import UserError
from layerbench.optional_packages import is_installed

SPLIT = "split"
"""Name for all GPUs together."""

# What transformers raises where a model's files say what it cannot do: values of other types or
# that fit no shape, names that it does not know.
_FAULTS_OF_MODELS = (
    ArithmeticError,
    AttributeError,
    ImportError,
    LookupError,
    OSError,
    RuntimeError,
    SafetensorError,
    TypeError,
    ValueError,
    StrictDataclassError,
)


def load_model(
    name: str = EMBEDDED,
    *,
    revision: str = "main",
    dtype: str = "auto",
    device: str = "auto",
    trust_remote_code: bool = False,
    attention: str = "auto",
) -> tuple[nn.Module, Tokenizer]:
    """Load a causal language model and its tokenizer; weights come from safetensors only.

    Args:
        name: A name in ``layerbench.agents.pretrained.names``, a folder, or a name on the Hub.
        revision: Branch, tag or commit on the Hub.
        dtype: ``auto`` takes float32 on the CPU, where bfloat16 is far slower, else bfloat16; or
            a name such as ``float32``.
        device: A device of torch; ``auto`` takes CUDA if available. Each process of torchrun takes
            a GPU of its own. ``split`` distributes the layers over all GPUs, one after the other,
            for a model that none of them can hold.
        trust_remote_code: Run code that comes with the model.
        attention: An implementation of attention in transformers; ``auto`` leaves the choice to it.

    Raises:
        UserError: There is no such model, device, dtype or implementation of attention, or its
            files are damaged.
    """
    target = None if device == SPLIT else _find_device(device)
    if target is None:
        _check_split()
    weight_dtype = _find_dtype(dtype, target)
    path = names.resolve(name)
    if Path(path).is_dir():
        stored = folders.check_files(Path(path))
        skeleton = load_skeleton(name, revision=revision, trust_remote_code=trust_remote_code)
        folders.check_size(name, skeleton, stored=stored)
    try:
        model, report = cast(Any, AutoModelForCausalLM).from_pretrained(
            path,
            revision=revision,
            dtype=weight_dtype,
            # Pickled weights could run code.
            use_safetensors=True,
            trust_remote_code=trust_remote_code,
            attn_implementation=None if attention == "auto" else attention,
            device_map="auto" if target is None else None,
            # Reported, and refused below by their names.
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
        tokenizer = cast(Any, AutoTokenizer).from_pretrained(
            path, revision=revision, trust_remote_code=trust_remote_code
        )
    except _FAULTS_OF_MODELS as problem:
        raise _not_loaded(name, problem) from problem
    folders.check_loaded(name, model, tokenizer, report)
    if target is not None:
        model = model.to(target)
    # accelerate leaves weights that fit on no GPU to the CPU or the disk, as meta tensors.
    elif any(parameter.is_meta for parameter in model.parameters()):
        raise UserError(f"model '{name}' does not fit on the {torch.cuda.device_count()} GPUs here")
    return cast(nn.Module, model.eval()), cast(Tokenizer, tokenizer)


def load_skeleton(
    name: str = EMBEDDED, *, revision: str = "main", trust_remote_code: bool = False
) -> nn.Module:
    """Build a model without its weights, which takes no memory, to look at its structure.

    Args:
        name: A name in ``layerbench.agents.pretrained.names``, a folder, or a name on the Hub.
        revision: Branch, tag or commit on the Hub.
        trust_remote_code: Run code that comes with the model.

    Raises:
        UserError: There is no such model.
    """
    path = names.resolve(name)
    if Path(path).is_dir():
        folders.check_config(Path(path))
    try:
        config = cast(Any, AutoConfig).from_pretrained(
            path, revision=revision, trust_remote_code=trust_remote_code
        )
        with torch.device("meta"):
            return cast(Any, AutoModelForCausalLM).from_config(
                config, trust_remote_code=trust_remote_code
            )
    except _FAULTS_OF_MODELS as problem:
        raise _not_loaded(name, problem) from problem


def end_ids(model: nn.Module) -> tuple[int, ...]:
    """List the tokens by which a model declares that a response ends.

    Its configuration and its generation configuration may each name one or several.
    """
    config = cast(Any, model).config
    sources = (config, config.get_text_config(decoder=True))
    declared = [getattr(source, "eos_token_id", None) for source in sources]
    declared.append(getattr(getattr(model, "generation_config", None), "eos_token_id", None))
    ids: list[int] = []
    for value in declared:
        ids += cast(list[int], value) if isinstance(value, list | tuple) else [cast(int, value)]
    return tuple(dict.fromkeys(index for index in ids if type(index) is int and index >= 0))


def weights_hash(model: nn.Module) -> str:
    """Compute the SHA-256 of a model's weights: names, dtypes, shapes and bytes, sorted by name."""
    digest = hashlib.sha256()
    weights = cast(dict[str, Tensor], model.state_dict())
    for name in sorted(weights):
        weight = weights[name].detach().cpu().contiguous()
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}\n".encode())
        # As bytes, since numpy has no bfloat16.
        digest.update(weight.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _not_loaded(name: str, problem: Exception) -> UserError:
    # That is of the machine, and no fault of the model.
    if isinstance(problem, torch.OutOfMemoryError):
        raise problem
    # Messages of transformers can be very long: one lists every architecture that it knows.
    reason = str(problem).strip().partition("\n")[0][:300] or type(problem).__name__
    # Such as KeyError, whose text is a name alone.
    if isinstance(problem, ArithmeticError | AttributeError | LookupError | TypeError):
        reason = f"{type(problem).__name__}: {reason}"
    if not Path(name).expanduser().exists():
        if name.startswith(("/", "./", "../", "~")):
            reason = "there is no such folder"
        else:
            reason = f"there is no such folder, and the Hub does not give it: {reason}"
    elif "Unrecognized configuration class" in reason:
        reason = "layerbench needs a causal language model, which decodes alone; this is none"
    return UserError(f"model '{name}' could not be loaded: {reason}")


def _find_device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":
        name = f"cuda:{torchrun.local_rank()}"
    elif name.startswith("cuda:") and torchrun.processes() > 1:
        raise UserError(
            f"device '{name}' would be that of all processes of torchrun: take auto, which gives "
            "each a GPU of its own"
        )
    try:
        device = torch.device(name)
        # torch accepts names of devices that this machine does not have: an allocation tells.
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, ImportError) as problem:
        raise UserError(f"no device '{name}' here: use auto, cpu, cuda or cuda:N") from problem
    return device


def _check_split() -> None:
    if not is_installed("accelerate"):
        raise UserError("device 'split' needs accelerate: pip install 'layerbench[split]'")
    if not torch.cuda.is_available():
        raise UserError("device 'split' is for several GPUs, and there is none here: use auto")
    if torchrun.processes() > 1:
        raise UserError(
            "device 'split' takes all GPUs for one process: leave torchrun out, or use auto"
        )


def _find_dtype(name: str, device: torch.device | None) -> torch.dtype:
    if name == "auto":
        on_cpu = device is not None and device.type == "cpu"
        return torch.float32 if on_cpu else torch.bfloat16
    weight_dtype = getattr(torch, name, None)
    if not isinstance(weight_dtype, torch.dtype) or not weight_dtype.is_floating_point:
        raise UserError(f"no dtype '{name}': use auto, float32, bfloat16 or float16")
    return weight_dtype
