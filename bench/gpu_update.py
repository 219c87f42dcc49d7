"""Time updates and rollouts of models of published shapes, all parameters against single layers.

    python bench/gpu_update.py [--models NAME,...] [--out FILE]
    python bench/gpu_update.py --device cpu --models tiny --sequences 4 --tokens 64

Weights are random, so that nothing is downloaded: time and memory do not depend on them. For each
model: `full`, and layers 0, L/4, L/2 and L-1. One update is one optimizer step on sequences of
equal length, with decisions among admissible actions (`choose`) or over the whole vocabulary
(`generate`); the first one is warm-up, and the median of the others counts. `full` is skipped where
its computed footprint is more than the device has. Memory is the most that torch had allocated.
Rollouts are free text sampled side by side by the transformers backend. Every model is run in a
process of its own, and the file is written after each: what is in it already is not run again.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
import transformers
from memory_footprint import SHAPES, Shape, footprint
from torch import nn
from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

from layerbench.agents.backends.base import Query
from layerbench.agents.backends.transformers.backend import TransformersBackend
from layerbench.benchmarks.runs import resolve
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
    for _ in range(asked.sequences):
        tokens = rng.integers(0, shape.vocabulary, asked.tokens)
        positions = np.sort(rng.choice(np.arange(1, asked.tokens), DECISIONS, replace=False))
        others = rng.integers(0, shape.vocabulary, (DECISIONS, OPTIONS - 1)).tolist()
        allowed = [
            tuple(sorted({int(tokens[at]), *more}))
            for at, more in zip(positions, others, strict=True)
        ]
        made.append(
            TrainingSequence(
                tokens,
                positions,
                tuple(() for _ in allowed) if free else tuple(allowed),
                np.full(DECISIONS, -2.0, np.float32),
                rng.normal(size=DECISIONS).astype(np.float32),
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
    model: nn.Module, shape: Shape, selection: str, asked: argparse.Namespace, *, free: bool
) -> dict[str, Any]:
    """Time one optimizer step, and measure its peak memory."""
    device = next(model.parameters()).device
    defaults = resolve.load("alfworld", preset="paper").train
    settings = replace(
        defaults,
        minibatches=1,
        micro_batch_tokens=asked.micro,
        loss=replace(defaults.loss, kl_coef=0.0, entropy_coef=0.0),
    )
    chosen = parse_selection(selection, shape.num_layers)
    learner = make_learner(model, chosen, settings, seed=0)
    sequences = make_sequences(shape, asked, free=free)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)

    def step() -> None:
        update(learner, sequences, settings, rng=np.random.default_rng(0))

    times = [timed(step, device) for _ in range(1 + TIMES)][1:]
    learned = sum(parameter.numel() for parameter in learner.parameters.values())
    weight_bytes = next(model.parameters()).element_size()
    computed = footprint(parameters=shape.parameters, learned=learned, weight_bytes=weight_bytes)
    found: dict[str, Any] = {
        "selection": selection,
        "mode": "generate" if free else "choose",
        "learned": learned,
        "update_s": statistics.median(times),
        "update_s_all": times,
        "footprint_gb": computed.total / 1e9,
    }
    if device.type == "cuda":
        found["peak_gb"] = torch.cuda.max_memory_allocated(device) / 1e9
    for parameter in model.parameters():
        parameter.requires_grad_(False).grad = None
    return found


def measure_rollout(model: nn.Module, shape: Shape) -> dict[str, float]:
    """Count the tokens that are sampled in a second, of many episodes side by side."""
    device = next(model.parameters()).device
    rng = np.random.default_rng(1)

    def play(seed: int) -> None:
        """Let all episodes write one answer."""
        # No id ends the text: every response has its maximum length.
        backend = TransformersBackend(model, end_ids=[shape.vocabulary])
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


def measure(asked: argparse.Namespace) -> dict[str, Any]:
    """Measure one model, in this process."""
    shape, device = NAMES[asked.one], torch.device(asked.device)
    model = make_model(shape, device)
    room = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else None
    weight_bytes = next(model.parameters()).element_size()
    depth = shape.num_layers
    updates = list[dict[str, Any]]()
    rollout = measure_rollout(model, shape)
    # The largest comes last: if it runs out of memory, the others are measured.
    for selection in (*map(str, (depth - 1, depth // 2, depth // 4, 0)), "full"):
        learned = shape.parameters if selection == "full" else shape.layer_parameters
        needed = footprint(
            parameters=shape.parameters, learned=learned, weight_bytes=weight_bytes
        ).total
        if room is not None and needed > room:
            reason = f"needs {needed / 1e9:.1f} GB of {room / 1e9:.1f}, without activations"
            updates.append({"selection": selection, "skipped": reason})
            continue
        for free in (False, True):
            try:
                updates.append(measure_update(model, shape, selection, asked, free=free))
            except torch.cuda.OutOfMemoryError as error:
                for parameter in model.parameters():
                    parameter.requires_grad_(False).grad = None
                short = str(error).partition(".")[0]
                updates.append({"selection": selection, "skipped": short})
                torch.cuda.empty_cache()
    return {"parameters": shape.parameters, "rollout": rollout, "updates": updates}


def main() -> None:
    """Measure each model in a process of its own, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default=DEFAULT, help=f"some of {', '.join(NAMES)}")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--sequences", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=1024, help="of each sequence")
    parser.add_argument("--micro", type=int, default=4096, help="tokens of a micro-batch")
    default = Path(__file__).parent / "results" / "gpu_update.json"
    parser.add_argument("--out", type=Path, default=default)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        sys.stdout.write(json.dumps(measure(asked)))
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
    for name in asked.models.split(","):
        if name not in NAMES:
            parser.error(f"no model {name}: take some of {', '.join(NAMES)}")
        if name not in found["models"]:
            one = [sys.executable, __file__, *sys.argv[1:], "--one", name]
            said = subprocess.run(one, check=True, stdout=subprocess.PIPE, text=True).stdout
            found["models"][name] = json.loads(said)
            asked.out.parent.mkdir(parents=True, exist_ok=True)
            asked.out.write_text(json.dumps(found, indent=1) + "\n")
        rollout = found["models"][name]["rollout"]
        sys.stdout.write(f"{name}: {rollout['written_tokens_per_s']:.0f} tokens sampled a second\n")
        for row in found["models"][name]["updates"]:
            if "skipped" in row:
                sys.stdout.write(f"  {row['selection']:>5}  skipped: {row['skipped']}\n")
                continue
            peak = f"  peak {row['peak_gb']:.1f} GB" if "peak_gb" in row else ""
            sys.stdout.write(
                f"  {row['selection']:>5} {row['mode']:9} update {row['update_s']:.3f} s{peak}"
                f"  computed without activations {row['footprint_gb']:.1f} GB\n"
            )


if __name__ == "__main__":
    main()
