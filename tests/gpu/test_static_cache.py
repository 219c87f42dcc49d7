"""A token of every row by a CUDA graph is what the model's own forward gives."""

import pytest
import torch

from layerbench.agents.backends.transformers.static import StaticStepper
from tests.support import tiny_models

pytestmark = pytest.mark.gpu


def test_graphs_give_the_models_own_logits(device: torch.device) -> None:
    torch.compiler.reset()
    model = tiny_models.model().to(device)
    stepper = StaticStepper(model)
    for _ in range(2):
        read = {stepper.open(): [3, 1 + start, 4] for start in range(3)}
        stepper.extend(read)
        for token in range(5):
            logits = stepper.extend({row: [token] for row in read})
            read = {row: [*ids, token] for row, ids in read.items()}
            expected = torch.stack(
                [model(torch.tensor([ids], device=device)).logits[0, -1] for ids in read.values()]
            )
            torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)
        stepper.drop(read)
        # As an optimizer step does, in place.
        with torch.no_grad():
            for weight in model.parameters():
                weight.mul_(1.1)
