"""Make optimizer steps by TRL's GRPOTrainer, in an environment of its own, for ``update_step.py``.

It reads the model and the sequences from the folder that is its argument, then, a line of its stdin
each, a step to make, and answers with the seconds of processor time that it took. Frozen are the
same parameters as by layerbench; the loss covers the same decisions. As TRL does, it computes the
logits of the completion alone, in one epoch takes the old log-probabilities from the pass itself,
and with more of them from a pass of their own; the reference is a copy of the model that it loads.
"""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from trl import GRPOConfig, GRPOTrainer

RATE = 1e-6


def make_trainer(folder: Path, names: Sequence[str], kl_coef: float, epochs: int) -> GRPOTrainer:
    """Make TRL's trainer of a model whose other parameters are frozen."""
    model = AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float32)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in names)
    settings = GRPOConfig(
        output_dir=str(folder / "trl"),
        beta=kl_coef,
        num_iterations=epochs,
        learning_rate=RATE,
        per_device_train_batch_size=4,
        num_generations=4,
        loss_type="dr_grpo",
        max_completion_length=1024,
        gradient_checkpointing=False,
        bf16=False,
        use_cpu=True,
        report_to=[],
    )
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        args=settings,
        train_dataset=Dataset.from_list([{"prompt": "a"}] * 4),
        processing_class=AutoTokenizer.from_pretrained(folder / "tokenizer"),
    )
    trainer.current_gradient_accumulation_steps = 1
    return trainer


class Steps:
    """The steps of one selection and number of epochs."""

    def __init__(self, folder: Path, names: Sequence[str], kl_coef: float, epochs: int) -> None:
        self._trainer = make_trainer(folder, names, kl_coef, epochs)
        self._epochs = epochs
        learning = [p for p in self._trainer.model.parameters() if p.requires_grad]
        self._learning = learning
        self._optimizer = torch.optim.AdamW(learning, lr=RATE, weight_decay=0.0)
        sequences = np.load(folder / "sequences.npz")
        ids, advantages = map(torch.from_numpy, (sequences["ids"], sequences["advantages"]))
        start = ids.shape[1] // 2
        ones = torch.ones_like(ids)
        self._inputs = {
            "prompt_ids": ids[:, :start],
            "prompt_mask": ones[:, :start],
            "completion_ids": ids[:, start:],
            "completion_mask": ones[:, start:],
            "tool_mask": (advantages[:, start:] != 0).long(),
            "advantages": advantages[:, start:],
            "num_items_in_batch": torch.tensor(float((advantages != 0).sum())),
        }

    def step(self) -> None:
        """Take one optimizer step an epoch."""
        inputs = dict(self._inputs)
        if self._trainer.beta:
            inputs["ref_per_token_logps"] = self._logprobs(self._trainer.ref_model)
        if self._epochs > 1:
            inputs["old_per_token_logps"] = self._logprobs(self._trainer.model)
        for _ in range(self._epochs):
            self._optimizer.zero_grad(set_to_none=True)
            self._trainer.compute_loss(self._trainer.model, inputs).backward()
            torch.nn.utils.clip_grad_norm_(self._learning, 1.0)
            self._optimizer.step()

    @torch.no_grad()
    def _logprobs(self, model: PreTrainedModel) -> torch.Tensor:
        ids = torch.cat([self._inputs["prompt_ids"], self._inputs["completion_ids"]], dim=1)
        kept = self._inputs["completion_ids"].shape[1]
        return self._trainer._get_per_token_logps_and_entropies(
            model, ids, torch.ones_like(ids), kept
        )[0]


def main() -> None:
    """Answer until stdin closes."""
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    # What libraries print goes to stderr.
    answers, sys.stdout = sys.stdout, sys.stderr
    made: dict[str, Steps] = {}
    for line in sys.stdin:
        asked = json.loads(line)
        if line not in made:
            # One at a time: each may have two models.
            made = {line: Steps(folder, asked["names"], asked["kl_coef"], asked["epochs"])}
            made[line].step()
        began = time.process_time()
        made[line].step()
        answers.write(f"{time.process_time() - began}\n")
        answers.flush()


if __name__ == "__main__":
    main()
