"""Time updates and rollouts of models of published shapes, all parameters against single layers.

    python bench/gpu_update.py [--models NAME,...] [--out FILE]
    python bench/gpu_update.py --device cpu --models tiny --sequences 4 --tokens 64

Weights are random, so that nothing is downloaded: time and memory do not depend on them. For each
model: `full`, and layers 0, L/4, L/2 and L-1. One update is one optimizer step on sequences of
equal length, with 32 decisions among admissible actions in each (`choose`) or every second token
from the whole vocabulary (`generate`); the first one is warm-up, and the median of the others
counts. As in the preset `paper`, there is one epoch, and a pass of the base before it for the KL.
Layers above 0 are updated with `reuse` of the hidden states that enter them, from that pass, and
without (`train.reuse_mb=0`); `generate` with its head in chunks (`head`), and all at once. `full`
is skipped where its computed footprint is more than the device has. Memory is the most that torch
had allocated. Rollouts are free text sampled side by side by the transformers backend, in a cache
that grows and in one of fixed size by CUDA graphs (`model.static_cache=true`). Every model
is run in a process of its own, and the file is written after each figure: what is in it already is
not run again.
"""

import argparse
import functools
import json
import math
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from time import perf_counter
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import transformers
from memory_footprint import SHAPES, Shape, footprint
from torch import nn
from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

from layerbench.agents.backends.base import Query
from layerbench.agents.backends.transformers.backend import TransformersBackend
from layerbench.agents.backends.transformers.static import StaticStepper
from layerbench.benchmarks.runs import resolve
from layerbench.rl import open_vocabulary
from layerbench.rl.batching import TrainingSequence
from layerbench.rl.selection import parse_selection
from layerbench.rl.trainer import make_learner
from layerbench.rl.update import update

TINY = Shape("tiny", 8, 64, 128, 4, 2, 16, 512, True, head_norms=True)
NAMES = {shape.name.rpartition("/")[2]: shape for shape in (*SHAPES, TINY)}
DEFAULT = "Qwen2.5-1.5B-Instruct,Qwen3-4B,Qwen3-8B"
TIMES = 3
DECISIONS, OPTIONS = 32, 12
PROMPT, WRITTEN, EPISODES = 512, 64, 32
AT_ONCE = 2**62
# How each is said, by its name in the file.
ROLLOUTS = {"rollout": "", "static_rollout": ", in a static cache"}


@dataclass(frozen=True, slots=True)
class Case:
    """What is measured of an update.

    Attributes:
        selection: What learns.
        mode: ``choose`` or ``generate``.
        reuse: Whether the learning pass begins above the frozen blocks.
        head: Of ``generate``, ``chunked`` or ``plain``.
    """

    selection: str
    mode: str
    reuse: bool
    head: str = "chunked"


def cases(depth: int) -> Iterator[Case]:
    """List the cases of a model, what is most worth knowing first."""
    layers = (depth - 1, depth // 2, depth // 4, 0)
    for mode in ("choose", "generate"):
        yield from (Case(str(layer), mode, reuse=layer > 0) for layer in layers)
        yield Case("full", mode, reuse=False)
        yield from (Case(str(layer), mode, reuse=False) for layer in layers if layer)
    yield from (Case(str(layer), "generate", layer > 0, "plain") for layer in layers)
    yield Case("full", "generate", reuse=False, head="plain")


def make_model(shape: Shape, device: torch.device) -> nn.Module:
    """Build the model with random weights: bfloat16 on a GPU, as runs have it."""
    sizes: dict[str, Any] = {
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.inner,
        "num_hidden_layers": shape.num_layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.key_heads,
        "tie_word_embeddings": shape.tied,
    }
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float32 if device.type == "cpu" else torch.bfloat16)
    with device:
        if shape.head_norms:
            model = Qwen3ForCausalLM(Qwen3Config(**sizes, head_dim=shape.head_size))
        else:
            model = Qwen2ForCausalLM(Qwen2Config(**sizes))
    torch.set_default_dtype(torch.float32)
    return model.eval()


def make_sequences(
    shape: Shape, asked: argparse.Namespace, *, free: bool
) -> list[TrainingSequence]:
    """Make training sequences like those of transcript episodes."""
    rng = np.random.default_rng(0)
    made = list[TrainingSequence]()
    decisions = asked.tokens // 2 if free else DECISIONS
    for _ in range(asked.sequences):
        tokens = rng.integers(0, shape.vocabulary, asked.tokens)
        positions = np.sort(rng.choice(np.arange(1, asked.tokens), decisions, replace=False))
        others = rng.integers(0, shape.vocabulary, (decisions, OPTIONS - 1)).tolist()
        allowed = [
            tuple(sorted({int(tokens[at]), *more}))
            for at, more in zip(positions, others, strict=True)
        ]
        made.append(
            TrainingSequence(
                tokens,
                positions,
                tuple(() for _ in allowed) if free else tuple(allowed),
                np.full(decisions, -2.0, np.float32),
                rng.normal(size=decisions).astype(np.float32),
            )
        )
    return made


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Return the wall time of the work (s), to the end of its kernels on the device."""
    begun = perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return perf_counter() - begun


def measure_update(
    model: nn.Module, shape: Shape, case: Case, asked: argparse.Namespace
) -> dict[str, Any]:
    """Time one optimizer step, and measure its peak memory."""
    device = next(model.parameters()).device
    defaults = resolve.load("alfworld", preset="paper").train
    settings = replace(
        defaults,
        minibatches=1,
        micro_batch_tokens=asked.micro,
        reuse_mb=defaults.reuse_mb if case.reuse else 0,
    )
    chosen = parse_selection(case.selection, shape.num_layers)
    learner = make_learner(model, chosen, settings, seed=0)
    sequences = make_sequences(shape, asked, free=case.mode == "generate")
    if case.reuse and learner.prefix is None:
        return {"skipped": "passes above the frozen blocks do not end as whole ones"}
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)

    def step() -> None:
        update(learner, sequences, settings, rng=np.random.default_rng(0))

    with patch.object(
        open_vocabulary,
        "CHUNK_NUMBERS",
        AT_ONCE if case.head == "plain" else open_vocabulary.CHUNK_NUMBERS,
    ):
        times = [timed(step, device) for _ in range(1 + TIMES)][1:]
    learned = sum(parameter.numel() for parameter in learner.parameters.values())
    weight_bytes = next(model.parameters()).element_size()
    computed = footprint(parameters=shape.parameters, learned=learned, weight_bytes=weight_bytes)
    found: dict[str, Any] = {
        "learned": learned,
        "update_s": statistics.median(times),
        "update_s_all": times,
        "footprint_gb": computed.total / 1e9,
    }
    if device.type == "cuda":
        found["peak_gb"] = torch.cuda.max_memory_allocated(device) / 1e9
    return found


def measure_rollout(model: nn.Module, shape: Shape, *, static: bool) -> dict[str, Any]:
    """Count the tokens that are sampled in a second, of many episodes side by side.

    Args:
        model: The model.
        shape: Its shape.
        static: In a cache of fixed size, by CUDA graphs; on a CPU they are traced and run as plain
            operations, to see that they can be.
    """
    device = next(model.parameters()).device
    rng = np.random.default_rng(1)
    traced = functools.partial(torch.compile, backend="eager", fullgraph=True, dynamic=False)
    compiler = None if device.type == "cuda" else traced
    # Kept from play to play, as in a run: what it has compiled is used again.
    stepper = StaticStepper(model, compiler=compiler) if static else None

    def play(seed: int) -> None:
        """Let all episodes write one answer."""
        # No id ends the text: every response has its maximum length.
        backend = TransformersBackend(model, end_ids=[shape.vocabulary], stepper=stepper)
        queries = [
            Query(
                episode=episode,
                context_ids=tuple(rng.integers(0, shape.vocabulary, PROMPT).tolist()),
                choices=(),
                max_new_tokens=WRITTEN,
                temperature=1.0,
                seed=seed + episode,
            )
            for episode in range(EPISODES)
        ]
        backend.sample(queries)
        backend.release(range(EPISODES))

    seconds = [timed(lambda turn=turn: play(100 * turn), device) for turn in range(1 + TIMES)][1:]
    written = EPISODES * WRITTEN
    return {
        "episodes": EPISODES,
        "prompt_tokens": PROMPT,
        "written_tokens": WRITTEN,
        "written_tokens_per_s": written / statistics.median(seconds),
    }


def measure(asked: argparse.Namespace, known: Sequence[Case]) -> Iterator[dict[str, Any]]:
    """Measure what is not known of one model, in this process, as long as there is time."""
    ends = perf_counter() + asked.seconds
    shape, device = NAMES[asked.one], torch.device(asked.device)
    model = make_model(shape, device)
    if asked.what != "updates":
        yield {"rollout": measure_rollout(model, shape, static=False)}
    if asked.what != "rollout":
        yield from measure_updates(model, shape, asked, known, ends)
    if asked.what != "updates":
        # Last, since it is what is likeliest to fail.
        yield {"static_rollout": measure_rollout(model, shape, static=True)}


def measure_updates(
    model: nn.Module, shape: Shape, asked: argparse.Namespace, known: Sequence[Case], ends: float
) -> Iterator[dict[str, Any]]:
    """Measure the updates that are not known, as long as there is time."""
    device = next(model.parameters()).device
    room = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else None
    weight_bytes = next(model.parameters()).element_size()
    took = 0.0
    for case in cases(shape.num_layers):
        if case in known:
            continue
        # The next case takes about as long as the last; `full` at most about three times that.
        if perf_counter() + (3 if case.selection == "full" else 1) * took > ends:
            return
        begun = perf_counter()
        learned = shape.parameters if case.selection == "full" else shape.layer_parameters
        needed = footprint(
            parameters=shape.parameters, learned=learned, weight_bytes=weight_bytes
        ).total
        if room is not None and needed > room:
            reason = f"needs {needed / 1e9:.1f} GB of {room / 1e9:.1f}, without activations"
            yield {**asdict(case), "skipped": reason}
            continue
        try:
            found = measure_update(model, shape, case, asked)
        except torch.cuda.OutOfMemoryError as error:
            found = {"skipped": str(error).partition(".")[0]}
        for parameter in model.parameters():
            parameter.requires_grad_(False).grad = None
        if device.type == "cuda":
            torch.cuda.empty_cache()
        took = perf_counter() - begun
        yield {**asdict(case), **found}


def describe(name: str, line: Mapping[str, Any]) -> str:
    """Say in a line what was measured."""
    for kind, how in ROLLOUTS.items():
        if kind in line:
            return f"{name}: {line[kind]['written_tokens_per_s']:.0f} tokens sampled a second{how}"
    what = f"{name}: {line['selection']:>5} {line['mode']:9}{' reuse' if line['reuse'] else ''}"
    if line["mode"] == "generate":
        what += f" {line['head']} head"
    if "skipped" in line:
        return f"{what}  skipped: {line['skipped']}"
    peak = f"  peak {line['peak_gb']:.1f} GB" if "peak_gb" in line else ""
    return (
        f"{what}  update {line['update_s']:.3f} s{peak}"
        f"  computed without activations {line['footprint_gb']:.1f} GB"
    )


def measure_apart(
    name: str, model: dict[str, Any], asked: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """Measure what is not known of a model, in a process of its own, and yield each figure."""
    known = [[row[field.name] for field in fields(Case)] for row in model["updates"]]
    has_rollout = asked.what == "all" and all(kind in model for kind in ROLLOUTS)
    one = [sys.executable, __file__, *sys.argv[1:], "--one", name, "--known", json.dumps(known)]
    one += ["--what", "updates" if has_rollout else asked.what]
    with subprocess.Popen(one, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for text in process.stdout:
            line = json.loads(text)
            if line.keys() & ROLLOUTS.keys():
                model |= line
            else:
                model["updates"].append(line)
            yield line
    if process.returncode:
        raise SystemExit(f"{name}: the process that measures it ended with {process.returncode}")


def main() -> None:
    """Measure each model, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default=DEFAULT, help=f"some of {', '.join(NAMES)}")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--sequences", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=1024, help="of each sequence")
    parser.add_argument("--micro", type=int, default=4096, help="tokens of a micro-batch")
    parser.add_argument("--what", choices=("all", "updates", "rollout"), default="all")
    parser.add_argument("--seconds", type=float, default=math.inf, help="for each model, about")
    default = Path(__file__).parent / "results" / "gpu_update.json"
    parser.add_argument("--out", type=Path, default=default)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--known", type=json.loads, default=[], help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        for line in measure(asked, [Case(*known) for known in asked.known]):
            sys.stdout.write(f"{json.dumps(line)}\n")
            sys.stdout.flush()
        return
    on_gpu = asked.device.startswith("cuda")
    setting = {
        "device": torch.cuda.get_device_name() if on_gpu else platform.machine(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "sequences": asked.sequences,
        "tokens": asked.tokens,
        "micro_batch_tokens": asked.micro,
    }
    found: dict[str, Any] = {**setting, "models": {}}
    if asked.out.exists():
        before = json.loads(asked.out.read_text())
        if {name: before.get(name) for name in setting} == setting:
            found = before
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    for name in asked.models.split(","):
        if name not in NAMES:
            parser.error(f"no model {name}: take some of {', '.join(NAMES)}")
        model = found["models"].setdefault(
            name, {"parameters": NAMES[name].parameters, "updates": []}
        )
        for line in measure_apart(name, model, asked):
            sys.stdout.write(f"{describe(name, line)}\n")
            sys.stdout.flush()
            asked.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
