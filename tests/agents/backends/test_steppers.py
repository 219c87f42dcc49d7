import functools
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn

from layerbench.agents.backends.transformers import lean, packing, static
from layerbench.agents.backends.transformers.backend import pick_stepper
from layerbench.agents.backends.transformers.cached import CachedStepper, RecomputingStepper
from layerbench.agents.backends.transformers.lean import LeanStepper, is_lean
from layerbench.agents.backends.transformers.static import StaticStepper
from layerbench.agents.backends.transformers.stepper import Stepper
from tests.support import tiny_models

FAMILIES = ("qwen3", "qwen2", "llama")


class Reader:
    """Feeds a stepper, records each row's tokens, and checks the logits of every call."""

    def __init__(self, stepper: Stepper, model: nn.Module) -> None:
        self.stepper = stepper
        self.model = model
        self.read: dict[int, list[int]] = {}
        self.random = random.Random(0)

    def open(self, count: int) -> None:
        for _ in range(count):
            row = self.stepper.open()
            assert row not in self.read
            self.read[row] = []

    def chunk(self, length: int) -> list[int]:
        return [self.random.randrange(50) for _ in range(length)]

    def extend(self, widths: dict[int, int]) -> None:
        chunks = {row: self.chunk(width) for row, width in widths.items()}
        logits = self.stepper.extend(chunks)
        for row, row_logits in zip(chunks, logits, strict=True):
            self.read[row] += chunks[row]
            expected = tiny_models.logits(self.model, self.read[row])[-1]
            torch.testing.assert_close(row_logits, expected, atol=1e-5, rtol=0)


def static_stepper(model: nn.Module) -> StaticStepper:
    return StaticStepper(model, compiler=lambda forward: forward)


@pytest.fixture(params=[LeanStepper, CachedStepper, static_stepper, RecomputingStepper])
def make(request: pytest.FixtureRequest) -> Callable[[nn.Module], Stepper]:
    return request.param


@pytest.mark.parametrize("family", FAMILIES)
def test_ragged_chunks_give_the_models_own_logits(
    make: Callable[[nn.Module], Stepper], family: str
) -> None:
    model = tiny_models.model(family)
    reader = Reader(make(model), model)
    reader.open(5)
    for _ in range(8):
        rows = reader.random.sample(sorted(reader.read), reader.random.randint(1, 5))
        reader.extend({row: reader.random.choice([1, 1, 2, 7, 30]) for row in rows})


def test_dropped_rows_leave_the_others_as_they_were(make: Callable[[nn.Module], Stepper]) -> None:
    model = tiny_models.model()
    reader = Reader(make(model), model)
    reader.open(4)
    reader.extend(dict(zip(reader.read, (3, 9, 1, 5), strict=True)))
    dropped = sorted(reader.read)[1:3]
    reader.stepper.drop(dropped)
    for row in dropped:
        del reader.read[row]
    reader.open(2)
    reader.extend(dict.fromkeys(sorted(reader.read), 4))
    reader.extend(dict.fromkeys(list(reader.read)[::2], 1))


def test_truncated_rows_read_on_from_there(make: Callable[[nn.Module], Stepper]) -> None:
    model = tiny_models.model()
    reader = Reader(make(model), model)
    reader.open(3)
    reader.extend(dict(zip(reader.read, (6, 2, 9), strict=True)))
    row = list(reader.read)[2]
    reader.stepper.truncate(row, length=4)
    del reader.read[row][4:]
    reader.extend({row: 1})
    reader.extend(dict.fromkeys(reader.read, 3))


def test_copied_row_reads_on_by_itself(make: Callable[[nn.Module], Stepper]) -> None:
    model = tiny_models.model()
    reader = Reader(make(model), model)
    reader.open(2)
    first, second = reader.read
    reader.extend({first: 6, second: 3})
    copied = reader.stepper.copy(first)
    reader.read[copied] = list(reader.read[first])
    reader.extend({first: 2, copied: 1})
    reader.extend({copied: 5, second: 1})


def test_candidates_are_scored_as_in_the_whole_vocabulary(
    make: Callable[[nn.Module], Stepper], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_models.model()
    candidates = torch.tensor([[4, 40, 2], [7, 7, 0]])
    for small in (0, 4096):
        monkeypatch.setattr("layerbench.agents.backends.transformers.lean._SMALL_VOCABULARY", small)
        stepper = make(model)
        rows = [stepper.open(), stepper.open()]
        chunks = {rows[1]: [3, 4, 5], rows[0]: [6]}
        logits = stepper.extend(chunks, candidates)
        expected = torch.stack([tiny_models.logits(model, ids)[-1] for ids in chunks.values()])
        torch.testing.assert_close(logits, expected.gather(1, candidates), atol=1e-5, rtol=0)


def test_lean_loop_uses_the_weights_after_a_training_step() -> None:
    model = tiny_models.model()
    reader = Reader(LeanStepper(model), model)
    reader.open(1)
    reader.extend({0: 4})
    reader.stepper.drop([0])
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(1.1)
    reader.read.clear()
    reader.open(1)
    reader.extend({0: 4})


def test_passes_and_runs_do_not_change_the_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_models.model()
    for pass_tokens, call_cost in ((1, 0), (20, 10), (10_000, 10**9)):
        monkeypatch.setattr(packing, "_PASS_TOKENS", pass_tokens)
        monkeypatch.setattr(packing, "_CALL_COST", call_cost)
        reader = Reader(LeanStepper(model), model)
        reader.open(5)
        reader.extend({0: 3, 1: 9, 2: 1, 4: 5})
        reader.extend({0: 3, 1: 1, 3: 8, 4: 2})


def test_every_query_head_may_have_its_own_keys() -> None:
    model = tiny_models.model("qwen3", num_key_value_heads=4)
    reader = Reader(LeanStepper(model), model)
    reader.open(4)
    reader.extend({0: 9, 1: 4, 2: 12})
    reader.extend({0: 1, 1: 3, 3: 5})
    reader.extend({0: 1, 1: 1, 2: 1, 3: 1})


def test_cache_grows_past_its_first_size() -> None:
    model = tiny_models.model()
    reader = Reader(LeanStepper(model), model)
    reader.open(2)
    reader.extend({0: 200, 1: 3})
    reader.open(1)
    reader.extend({0: 150, 1: 3, 2: 2})


def test_holes_are_packed_away() -> None:
    model = tiny_models.model()
    stepper = CachedStepper(model)
    reader = Reader(stepper, model)
    reader.open(3)
    first, second, third = reader.read
    for _ in range(6):
        reader.extend({first: 4})
        reader.extend({second: 4})
        reader.extend({third: 2, first: 1})
    # 18 calls of up to 4 tokens would have been 72 positions; the longest row has 30.
    assert stepper._real_BN.shape[1] < 72  # pyright: ignore[reportPrivateUsage]


class Compiler:
    """Traces a forward whole, as into a CUDA graph, and counts how often; runs it as it is."""

    def __init__(self) -> None:
        self.graphs = 0
        self.calls = 0

    def __call__(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        def backend(graph: fx.GraphModule, _: list[Tensor]) -> fx.GraphModule:
            self.graphs += 1
            return graph

        compiled = torch.compile(forward, backend=backend, fullgraph=True, dynamic=False)  # pyright: ignore[reportUnknownMemberType]

        @functools.wraps(forward)
        def call(**inputs: object) -> object:
            self.calls += 1
            return compiled(**inputs)

        return call


@pytest.mark.parametrize("family", FAMILIES)
def test_a_token_of_every_row_is_one_graph_until_rows_or_positions_have_no_place(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(static, "LEAST_POSITIONS", 64)
    torch.compiler.reset()
    model, compiler = tiny_models.model(family), Compiler()
    reader = Reader(StaticStepper(model, compiler=compiler), model)
    reader.open(3)
    reader.extend({0: 9, 1: 2, 2: 5})
    for _ in range(6):
        reader.extend({0: 1, 1: 1, 2: 1})
        reader.extend({0: 1, 2: 1})
    reader.stepper.drop([1])
    del reader.read[1]
    reader.open(1)
    reader.extend({3: 4})
    reader.extend({0: 1, 3: 1})
    assert (compiler.graphs, compiler.calls) == (1, 13)
    reader.open(1)
    reader.extend({0: 1, 2: 1, 3: 1, 4: 1})
    assert compiler.graphs == 1
    reader.open(1)
    reader.extend({0: 1, 2: 1, 3: 1, 4: 1, 5: 1})
    assert compiler.graphs == 2
    reader.extend({0: 60})
    reader.extend({0: 1, 4: 1})
    assert compiler.graphs == 3


def test_a_graph_reads_the_weights_after_a_training_step_and_rows_in_their_old_places() -> None:
    torch.compiler.reset()
    model, compiler = tiny_models.model(), Compiler()
    reader = Reader(StaticStepper(model, compiler=compiler), model)
    for _ in range(3):
        rows = [reader.stepper.open() for _ in range(2)]
        reader.read = {row: [] for row in rows}
        reader.extend({rows[0]: 7, rows[1]: 3})
        reader.extend(dict.fromkeys(rows, 1))
        reader.stepper.drop(rows)
        with torch.no_grad():
            for weight in model.parameters():
                weight.mul_(1.1)
    assert (compiler.graphs, compiler.calls) == (1, 3)


def test_places_where_a_diverged_model_wrote_do_not_spoil_later_rows() -> None:
    model = tiny_models.model()
    reader = Reader(static_stepper(model), model)
    weight = model.get_parameter("model.layers.0.self_attn.v_proj.weight")
    kept = weight.detach().clone()
    with torch.no_grad():
        weight.fill_(torch.nan)
    rows = [reader.stepper.open() for _ in range(2)]
    reader.stepper.extend({rows[0]: [1, 2, 3], rows[1]: [4]})
    reader.stepper.drop(rows)
    with torch.no_grad():
        weight.copy_(kept)
    reader.open(2)
    first, second = reader.read
    reader.extend({first: 2, second: 4})
    reader.extend({second: 1})


def test_holes_of_static_places_are_packed_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(static, "LEAST_POSITIONS", 16)
    model = tiny_models.model()
    stepper = static_stepper(model)
    reader = Reader(stepper, model)
    reader.open(3)
    for _ in range(6):
        reader.extend({0: 4})
        reader.extend({1: 4})
        reader.extend({2: 2, 0: 1})
    # The longest row has 30 tokens: twice that and a chunk fit into 64 places.
    assert stepper._positions == 64  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize("much", [True, False])
def test_the_last_row_frees_the_memory_if_it_is_much(
    monkeypatch: pytest.MonkeyPatch, much: bool
) -> None:
    if much:
        monkeypatch.setattr(lean, "_KEPT_BYTES", 1000)
    stepper = LeanStepper(tiny_models.model())
    row = stepper.open()
    stepper.extend({row: [1, 2, 3]})
    stepper.drop([row])
    assert (stepper._cache.nbytes == 0) == much  # pyright: ignore[reportPrivateUsage]


def test_rows_read_as_ever_after_all_were_dropped(make: Callable[[nn.Module], Stepper]) -> None:
    model = tiny_models.model()
    reader = Reader(make(model), model)
    for count, width in ((3, 20), (4, 5), (2, 30)):
        reader.open(count)
        rows = sorted(reader.read)
        reader.extend({row: width - index for index, row in enumerate(rows)})
        reader.extend(dict.fromkeys(rows, 2))
        reader.stepper.drop(rows)
        reader.read.clear()


@pytest.mark.parametrize(
    "rope",
    [
        {"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0},
        {
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 16,
            "rope_theta": 10000.0,
        },
    ],
)
def test_lean_loop_knows_fixed_rotary_embeddings(rope: dict[str, object]) -> None:
    model = tiny_models.model("llama", rope_parameters=rope)
    assert is_lean(model)
    reader = Reader(LeanStepper(model), model)
    reader.open(2)
    reader.extend({0: 30, 1: 7})
    reader.extend({0: 3, 1: 9})


def test_lean_loop_knows_biases() -> None:
    model = tiny_models.model("qwen3", attention_bias=True)
    for name, weight in model.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(weight)
    reader = Reader(LeanStepper(model), model)
    reader.open(1)
    reader.extend({0: 5})


def test_stepper_is_picked_by_the_models_attention_and_dtype() -> None:
    assert isinstance(pick_stepper(tiny_models.model()), LeanStepper)
    assert isinstance(pick_stepper(tiny_models.model().double()), CachedStepper)
    assert isinstance(
        pick_stepper(tiny_models.model("mistral", sliding_window=None)), CachedStepper
    )
    assert isinstance(
        pick_stepper(tiny_models.model("mistral", sliding_window=8)), RecomputingStepper
    )


def test_changed_modules_are_not_lean() -> None:
    adapted = tiny_models.model()
    adapted.model.layers[1].mlp.up_proj = nn.Sequential(adapted.model.layers[1].mlp.up_proj)  # pyright: ignore
    assert not is_lean(adapted)
    hooked = tiny_models.model()
    hooked.model.layers[0].register_forward_hook(lambda *_: None)  # pyright: ignore
    assert not is_lean(hooked)
    with pytest.raises(ValueError, match="cannot stand in for Qwen3ForCausalLM"):
        LeanStepper(hooked)


def test_steppers_with_caches_refuse_sliding_windows() -> None:
    with pytest.raises(ValueError, match="without full attention"):
        CachedStepper(tiny_models.model("mistral", sliding_window=8))
    with pytest.raises(ValueError, match="without full attention"):
        static_stepper(tiny_models.model("mistral", sliding_window=8))
    stateful = tiny_models.model()
    stateful._can_compile_fullgraph = False  # pyright: ignore
    with pytest.raises(ValueError, match="cannot compile Qwen3ForCausalLM whole"):
        static_stepper(stateful)
    packing_attention = tiny_models.model()
    packing_attention.config._attn_implementation = "flash_attention_2"  # pyright: ignore
    with pytest.raises(ValueError, match="flash_attention_2 takes no cache of fixed size"):
        static_stepper(packing_attention)
    split = tiny_models.model()
    split.get_submodule("model.layers.1").to("meta")
    with pytest.raises(ValueError, match="Qwen3ForCausalLM lies on several devices"):
        static_stepper(split)
