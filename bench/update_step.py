"""Time one optimizer step, with the states of frozen layers reused and without, and by plain code.

    python bench/update_step.py [--models embedded,smollm2] [--sequences 4] [--tokens 256]
                                [--times 5] [--trl PYTHON] [--out FILE]

For each depth (layer 0, L/4, L/2, 3L/4, L-1 alone, and all parameters): ``plain`` runs all layers
in every pass (``train.reuse_mb=0``), ``reuse`` begins each pass at the lowest trained layer, with
states of the first pass, ``played`` with states that play has kept. ``checkpointed`` is ``played``
(of layer 0 and all parameters ``plain``) with what is inside a block computed again for its
gradients (``train.gradient_checkpointing``). ``transformers`` is a loop as other trainers have it:
the same parameters frozen, logits of the whole vocabulary at all positions, AdamW. ``trl`` is TRL's
GRPOTrainer with the same parameters frozen, by a Python that has it (``bench/trl_step.py``). With
one epoch and without a reference, and with two epochs and one.
Variants are interleaved, and the median counts; seconds are the processor's, of one thread.
``limit`` is the share of full's matrix products that a step with played states cannot do without.
Prints a table of shares of ``full``, writes JSON.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import transformers
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from layerbench.agents.pretrained.loading import load_model
from layerbench.benchmarks.records import processors
from layerbench.benchmarks.runs import resolve
from layerbench.rl.batching import PlayedStates, TrainingSequence
from layerbench.rl.layers import decoder_blocks
from layerbench.rl.selection import parse_selection
from layerbench.rl.settings import TrainSettings
from layerbench.rl.trainer import make_learner
from layerbench.rl.update import Learner, update

DECISIONS, OPTIONS = 32, 12
EPOCHS = {"one epoch": (1, 0.0), "two epochs, KL": (2, 0.01)}
RATE = 1e-6


@dataclass(frozen=True, slots=True)
class Step:
    """One way to make an optimizer step.

    Attributes:
        selection: What learns.
        passes: Name of the epochs and reference.
        variant: Name of the way.
        run: Makes the step, and gives its seconds of processor time.
    """

    selection: str
    passes: str
    variant: str
    run: Callable[[], float]


class Trl:
    """TRL's trainer of a model, in another process, which is ended with the context.

    Args:
        python: The interpreter that has TRL.
        model: The model.
        sequences: What it learns from.
    """

    def __init__(
        self, python: str, model: nn.Module, sequences: "Sequence[TrainingSequence]"
    ) -> None:
        self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name)
        cast(Any, model).save_pretrained(folder / "model")
        # It makes none of the tokens: the trainer wants one that can pad.
        load_model("embedded")[1].save_pretrained(folder / "tokenizer")
        ids = np.stack([s.token_ids_T for s in sequences])
        advantages = np.zeros(ids.shape, np.float32)
        for row, sequence in enumerate(sequences):
            advantages[row, sequence.positions_D] = sequence.advantages_D
        np.savez(folder / "sequences.npz", ids=ids, advantages=advantages)
        server = Path(__file__).with_name("trl_step.py")
        self._process = subprocess.Popen(
            [python, str(server), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> "Trl":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()

    def step(self, names: Sequence[str], passes: str) -> Callable[[], float]:
        """Make the step of these parameters."""
        epochs, kl_coef = EPOCHS[passes]
        asked = json.dumps({"names": list(names), "epochs": epochs, "kl_coef": kl_coef})

        def step() -> float:
            """Have the other process make a step, and give its seconds of processor time."""
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.write(f"{asked}\n")
            self._process.stdin.flush()
            return float(self._process.stdout.readline())

        return step


def timed(step: Callable[[], object]) -> Callable[[], float]:
    """Measure this process's time."""

    def run() -> float:
        began = time.process_time()
        step()
        return time.process_time() - began

    return run


def make_model(name: str) -> nn.Module:
    """Load the embedded model, or make one of SmolLM2-135M's shape with random weights."""
    if name == "embedded":
        return load_model(name)[0].eval()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        tie_word_embeddings=True,
    )
    return cast(nn.Module, LlamaForCausalLM(config)).eval()


def make_sequences(model: nn.Module, count: int, tokens: int) -> list[TrainingSequence]:
    """Make sequences of equal length with decisions among a few tokens."""
    rng, vocabulary = np.random.default_rng(0), cast(Any, model).config.vocab_size
    sequences: list[TrainingSequence] = []
    for _ in range(count):
        ids_T = rng.integers(0, vocabulary, size=tokens)
        positions_D = np.sort(rng.choice(np.arange(tokens // 2, tokens), DECISIONS, replace=False))
        positions_D[-1] = tokens - 1
        allowed = tuple(
            tuple(sorted({int(ids_T[p]), *rng.integers(0, vocabulary, OPTIONS).tolist()}))
            for p in positions_D
        )
        logprobs_D = np.full(DECISIONS, -np.log(OPTIONS), np.float32)
        advantages_D = rng.normal(size=DECISIONS).astype(np.float32)
        sequences.append(TrainingSequence(ids_T, positions_D, allowed, logprobs_D, advantages_D))
    return sequences


def settings(passes: str, *, reuse: bool, checkpointing: bool = False) -> TrainSettings:
    """Take the default preset's settings, for one optimizer step an epoch."""
    epochs, kl_coef = EPOCHS[passes]
    base = resolve.load("alfworld", [], preset="default").train
    loss = replace(base.loss, kl_coef=kl_coef)
    return replace(
        base,
        learning_rate=RATE,
        layer_learning_rate=RATE,
        epochs=epochs,
        minibatches=1,
        reuse_mb=2000 if reuse else 0,
        gradient_checkpointing=checkpointing,
        loss=loss,
    )


def steps(
    model: nn.Module,
    name: str,
    sequences: Sequence[TrainingSequence],
    passes: str,
    trl: Trl | None,
) -> Iterator[Step]:
    """Make every way to step one selection with these passes."""
    selection = parse_selection(name, len(decoder_blocks(model)))
    for variant in ("plain", "reuse", "played", "checkpointed"):
        checkpointing = variant == "checkpointed"
        asked = settings(passes, reuse=variant != "plain", checkpointing=checkpointing)
        learner = make_learner(model, selection, asked, seed=0)
        if variant in ("reuse", "played") and learner.prefix is None:
            continue
        given = list(sequences)
        if variant in ("played", "checkpointed") and learner.prefix is not None:
            given = [with_states(learner, sequence) for sequence in sequences]
        yield Step(name, passes, variant, timed(own_step(learner, given, asked)))
    yield Step(name, passes, "transformers", timed(other_step(model, name, sequences, passes)))
    if trl is not None:
        learner = make_learner(model, selection, settings(passes, reuse=False), seed=0)
        yield Step(name, passes, "trl", trl.step(list(learner.parameters), passes))


def with_states(learner: Learner, sequence: TrainingSequence) -> TrainingSequence:
    """Give a sequence the states that play would have kept."""
    prefix = learner.prefix
    assert prefix is not None
    states_SH = prefix.states(torch.from_numpy(sequence.token_ids_T[None, :-1]))[0]
    return replace(sequence, played_states=PlayedStates(states_SH, prefix.stamp))


def own_step(
    learner: Learner, sequences: Sequence[TrainingSequence], asked: TrainSettings
) -> Callable[[], object]:
    """Make layerbench's step."""

    def step() -> object:
        """Update once, with the parameters of this learner alone free to learn."""
        for parameter in learner.model.parameters():
            parameter.requires_grad_(False)
        for parameter in learner.parameters.values():
            parameter.requires_grad_(True)
        return update(learner, sequences, asked, rng=np.random.default_rng(0))

    return step


def other_step(
    model: nn.Module, name: str, sequences: Sequence[TrainingSequence], passes: str
) -> Callable[[], object]:
    """Make the step of a plain loop: whole logits, frozen parameters."""
    epochs, kl_coef = EPOCHS[passes]
    selection = parse_selection(name, len(decoder_blocks(model)))
    learner = make_learner(model, selection, settings(passes, reuse=False), seed=0)
    ids = torch.from_numpy(np.stack([s.token_ids_T for s in sequences]))
    advantages = torch.zeros(ids.shape)
    for row, sequence in enumerate(sequences):
        advantages[row, sequence.positions_D] = torch.from_numpy(sequence.advantages_D)

    def logprobs() -> torch.Tensor:
        logits = cast(Any, model)(input_ids=ids, use_cache=False).logits[:, :-1]
        return logits.log_softmax(-1).gather(2, ids[:, 1:, None])[..., 0]

    def step() -> object:
        """Make all epochs of one batch, with the same parameters free to learn."""
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        for parameter in learner.parameters.values():
            parameter.requires_grad_(True)
        with torch.no_grad():
            reference = logprobs() if kl_coef else None
        old = None
        for _ in range(epochs):
            learner.optimizer.zero_grad(set_to_none=True)
            new = logprobs()
            old = new.detach() if old is None else old
            ratio = (new - old).exp()
            loss = -(ratio * advantages[:, 1:]).sum() / ids.numel()
            if reference is not None:
                gap = reference - new
                loss = loss + kl_coef * (gap.exp() - gap - 1).mean()
            loss.backward()
            nn.utils.clip_grad_norm_(learner.parameters.values(), 1.0)
            learner.optimizer.step()
        return None

    return step


def limit(model: nn.Module, name: str) -> float:
    """Compute the share of full's matrix products of blocks that played states leave to be done.

    Forward, gradients of activations and of weights cost one unit a block each.
    """
    total = len(decoder_blocks(model))
    above = total - int(name)
    # Of the lowest trained block no gradient goes further down.
    return (above + above + 1) / (3 * total)


def measure(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Time all steps of a model."""
    model = make_model(name)
    total = len(decoder_blocks(model))
    sequences = make_sequences(model, args.sequences, args.tokens)
    names = ["full", *(str(n) for n in (0, total // 4, total // 2, 3 * total // 4, total - 1))]
    found: dict[tuple[str, str, str], list[float]] = {}
    with ExitStack() as stack:
        trl = stack.enter_context(Trl(args.trl, model, sequences)) if args.trl else None
        for selection, passes in product(names, EPOCHS):
            made = list(steps(model, selection, sequences, passes, trl))
            for time_ in range(args.times + 1):
                for step in made:
                    seconds = step.run()
                    # The first one is warm-up.
                    if time_:
                        key = (step.selection, step.passes, step.variant)
                        found.setdefault(key, []).append(seconds)
    rows: list[dict[str, Any]] = []
    for (selection, passes, variant), seconds in found.items():
        full = statistics.median(found["full", passes, "plain"])
        rows.append(
            {
                "selection": selection,
                "passes": passes,
                "variant": variant,
                "seconds": round(statistics.median(seconds), 4),
                "of_full": round(statistics.median(seconds) / full, 3),
                "limit": None if selection == "full" else round(limit(model, selection), 3),
            }
        )
    return {"layers": total, "steps": rows}


def table(name: str, measured: dict[str, Any]) -> Iterator[str]:
    """Write the shares of full, a line for each selection and number of passes."""
    variants = ("plain", "reuse", "played", "checkpointed", "transformers", "trl")
    yield f"{name}: share of full, plain, one thread's processor time"
    yield f"{'layer':>6} {'passes':<15}" + "".join(f"{v:>14}" for v in variants) + f"{'limit':>8}"
    rows = {(r["selection"], r["passes"], r["variant"]): r for r in measured["steps"]}
    for selection, passes in dict.fromkeys((s, p) for s, p, _ in rows):
        cells = (rows.get((selection, passes, variant)) for variant in variants)
        shares = "".join(f"{cell['of_full'] if cell else '':>14}" for cell in cells)
        bound = rows[selection, passes, "plain"]["limit"]
        is_bound = bound is not None and passes == "one epoch"
        yield f"{selection:>6} {passes:<15}{shares}{bound if is_bound else '':>8}"


def main() -> None:
    """Time every model's steps, print their table, and write them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--models", default="embedded,smollm2")
    parser.add_argument("--sequences", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--trl", default="", metavar="PYTHON")
    parser.add_argument("--out", type=Path, default=Path("update_step.json"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    result: dict[str, Any] = {
        "command": " ".join(["python bench/update_step.py", *sys.argv[1:]]),
        "processor": processors.cpu(),
        "platform": platform.platform(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "sequences": args.sequences,
        "tokens": args.tokens,
        "times": args.times,
        "models": {},
    }
    for name in args.models.split(","):
        result["models"][name] = measured = measure(name, args)
        args.out.write_text(json.dumps(result, indent=1) + "\n")
        sys.stdout.write("\n".join([*table(name, measured), ""]))


if __name__ == "__main__":
    main()
