import itertools
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import nn

from layerbench.agents.backends.base import Query, Sample
from layerbench.agents.backends.transformers.backend import TransformersBackend
from layerbench.agents.backends.transformers.cached import CachedStepper, RecomputingStepper
from layerbench.agents.backends.transformers.lean import LeanStepper
from layerbench.agents.backends.transformers.stepper import Stepper
from layerbench.agents.trie import TokenTrie
from tests.support import tiny_models
from tests.support.tiny_models import END

# Free tokens at the start, after a shared token, and after forced ones; a lone path; a short one.
CHOICES = ((5, 1, 7, END), (5, 1, 8, 8, END), (5, 9, END), (6, 6, 6, END), (END,))


def make_query(
    episode: int,
    *,
    context: Sequence[int] = (10, 11, 12),
    choices: Sequence[tuple[int, ...]] = CHOICES,
    temperature: float = 0.7,
    seed: int | None = None,
) -> Query:
    return Query(
        episode=episode,
        context_ids=tuple(context),
        choices=tuple(choices),
        max_new_tokens=6,
        temperature=temperature,
        seed=episode if seed is None else seed,
    )


def backend(model: nn.Module) -> TransformersBackend:
    return TransformersBackend(model, end_ids=[END])


def brute_force(model: nn.Module, query: Query) -> dict[tuple[int, ...], float]:
    """Score every choice by full forwards, renormalised over what the trie allows."""
    trie = TokenTrie(query.choices)
    scores: dict[tuple[int, ...], float] = {}
    for choice in query.choices:
        logits = tiny_models.logits(model, [*query.context_ids, *choice])
        scores[choice] = 0.0
        for depth, token in enumerate(choice):
            allowed = list(trie.allowed(choice[:depth]))
            row = logits[len(query.context_ids) + depth - 1, allowed].double()
            logprobs = (row / query.temperature).log_softmax(-1)
            scores[choice] += float(logprobs[allowed.index(token)])
    return scores


def check_logprobs(model: nn.Module, query: Query, sample: Sample) -> None:
    """Compare each token's log-probability with one fresh forward over the whole sequence."""
    logits = tiny_models.logits(model, [*query.context_ids, *sample.token_ids])
    for depth, (token, logprob) in enumerate(zip(sample.token_ids, sample.logprobs, strict=True)):
        row = logits[len(query.context_ids) + depth - 1]
        allowed = list(sample.allowed_ids[depth]) if sample.allowed_ids else list(range(50))
        expected = (row[allowed] / query.temperature).log_softmax(-1)[allowed.index(token)]
        assert logprob == pytest.approx(float(expected), abs=1e-5)


@pytest.mark.parametrize("family", ["qwen3", "llama"])
def test_chosen_logprobs_equal_brute_force_over_all_choices(family: str) -> None:
    model = tiny_models.model(family)
    queries = [make_query(episode, context=range(10, 14 + episode % 5)) for episode in range(24)]
    samples = backend(model).sample(queries)
    scores_of = {query.context_ids: brute_force(model, query) for query in queries[:5]}
    for query, sample in zip(queries, samples, strict=True):
        scores = scores_of[query.context_ids]
        assert sum(torch.tensor(list(scores.values())).exp()) == pytest.approx(1, abs=1e-6)
        assert sum(sample.logprobs) == pytest.approx(scores[sample.token_ids], abs=1e-5)
    assert len({sample.token_ids for sample in samples}) > 2


def test_choices_are_drawn_as_often_as_they_are_likely() -> None:
    model = tiny_models.model()
    queries = [make_query(episode, temperature=2.0) for episode in range(400)]
    samples = backend(model).sample(queries)
    for choice, score in brute_force(model, queries[0]).items():
        share = float(torch.tensor(score).exp())
        drawn = sum(sample.token_ids == choice for sample in samples) / len(samples)
        # Five standard errors of a share of 400 draws.
        assert abs(drawn - share) < 5 * (share * (1 - share) / 400) ** 0.5 + 1e-3


def test_forced_tokens_have_log_probability_0_and_one_option() -> None:
    model = tiny_models.model()
    sample = backend(model).sample([make_query(0, choices=[(5, 1, 7, END)])])[0]
    assert sample.token_ids == (5, 1, 7, END)
    assert sample.logprobs == (0.0, 0.0, 0.0, 0.0)
    assert sample.allowed_ids == ((5,), (1,), (7,), (END,))


def test_free_text_ends_with_the_end_token_or_at_its_limit() -> None:
    model = tiny_models.model()
    queries = [make_query(episode, choices=(), temperature=3.0) for episode in range(40)]
    samples = backend(model).sample(queries)
    for query, sample in zip(queries, samples, strict=True):
        assert sample.allowed_ids == ()
        assert END not in sample.token_ids[:-1]
        assert sample.token_ids[-1] == END or len(sample.token_ids) == 6
        check_logprobs(model, query, sample)
    assert {len(sample.token_ids) for sample in samples} >= {1, 6}


def test_temperature_zero_takes_the_likeliest() -> None:
    model = tiny_models.model()
    free, chosen = backend(model).sample(
        [make_query(0, choices=(), temperature=0.0), make_query(1, temperature=0.0)]
    )
    expected = [10, 11, 12]
    for token in free.token_ids:
        assert token == int(tiny_models.logits(model, expected)[-1].argmax())
        expected.append(token)
    assert set(free.logprobs) == set(chosen.logprobs) == {0.0}
    first = tiny_models.logits(model, [10, 11, 12])[-1, [END, 5, 6]].argmax()
    assert chosen.token_ids[0] == (END, 5, 6)[int(first)]


def test_samples_do_not_depend_on_the_rest_of_the_batch() -> None:
    model = tiny_models.model()
    queries = [make_query(episode, context=range(10, 13 + episode)) for episode in range(6)]
    together = backend(model).sample(queries)
    alone = [backend(model).sample([query])[0] for query in reversed(queries)][::-1]
    for left, right in zip(together, alone, strict=True):
        assert left.token_ids == right.token_ids
        assert left.logprobs == pytest.approx(right.logprobs, abs=1e-5)


def test_equal_calls_give_equal_bits() -> None:
    model = tiny_models.model()
    queries = [make_query(episode, context=range(10, 13 + episode)) for episode in range(6)]
    again = backend(model)
    first = again.sample(queries)
    again.release(range(6))
    assert first == again.sample(queries) == backend(model).sample(queries)


def test_seed_decides_the_answer() -> None:
    model = tiny_models.model()
    queries = [make_query(episode, temperature=3.0, seed=7) for episode in range(8)]
    assert len({sample.token_ids for sample in backend(model).sample(queries)}) == 1


@pytest.mark.parametrize("stepper", [None, CachedStepper, RecomputingStepper])
def test_growing_transcripts_equal_fresh_forwards(stepper: type[CachedStepper] | None) -> None:
    model = tiny_models.model()
    sampler = TransformersBackend(
        model, end_ids=[END], stepper=None if stepper is None else stepper(model)
    )
    contexts = {episode: list(range(10, 13 + episode)) for episode in range(5)}
    for turn in range(5):
        queries = [
            make_query(episode, context=context, seed=10 * turn + episode)
            for episode, context in contexts.items()
        ]
        for query, sample in zip(queries, sampler.sample(queries), strict=True):
            check_logprobs(model, query, sample)
            contexts[query.episode] += [*sample.token_ids, *range(20, 21 + query.episode)]
        # One episode ends after each turn.
        sampler.release([turn])
        del contexts[turn]


def test_changed_context_is_read_again_from_there() -> None:
    model = tiny_models.model()
    sampler = backend(model)
    contexts = ((10, 11, 12), (10, 11, 12), (10, 30), (10, 30, 31, 32, 33), (10,), (40, 41))
    for seed, context in enumerate(contexts):
        for choices in (CHOICES, ()):
            query = make_query(0, context=context, choices=choices, seed=seed)
            check_logprobs(model, query, sampler.sample([query])[0])


def test_equal_contexts_are_read_once() -> None:
    read: list[int] = []

    class CountingStepper(RecomputingStepper):
        def extend(self, chunks, candidates_RK=None):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202
            read.append(sum(map(len, chunks.values())))
            return super().extend(chunks, candidates_RK)

    model = tiny_models.model()
    sampler = TransformersBackend(model, end_ids=[END], stepper=CountingStepper(model))
    queries = [make_query(episode, context=range(10, 30)) for episode in range(8)]
    samples = sampler.sample(queries)
    # 19 tokens are shared; the last one is read by every row.
    assert read[:2] == [19, 8]
    for query, sample in zip(queries, samples, strict=True):
        check_logprobs(model, query, sample)


def test_model_is_left_in_the_mode_it_was_in() -> None:
    model = tiny_models.model()
    model.train()
    backend(model).sample([make_query(0)])
    assert model.training


def test_refuses_two_queries_of_one_episode_and_empty_contexts() -> None:
    sampler = backend(tiny_models.model())
    with pytest.raises(ValueError, match="one query per episode"):
        sampler.sample([make_query(3), make_query(3)])
    with pytest.raises(ValueError, match="context of episode 0 is empty"):
        sampler.sample([make_query(0, context=())])


def test_steppers_agree_on_a_conversation() -> None:
    model = tiny_models.model()
    queries = [make_query(episode, context=range(10, 13 + episode)) for episode in range(4)]
    steppers = (None, CachedStepper(model), RecomputingStepper(model))
    samples = [
        TransformersBackend(model, end_ids=[END], stepper=stepper).sample(queries)
        for stepper in steppers
    ]
    for left, right in itertools.combinations(samples, 2):
        assert [a.token_ids for a in left] == [a.token_ids for a in right]


@pytest.mark.parametrize("stepper", [LeanStepper, CachedStepper, RecomputingStepper])
def test_every_end_token_ends_free_text_and_changes_nothing_before(
    stepper: Callable[[nn.Module], Stepper],
) -> None:
    model = tiny_models.model()
    queries = [make_query(episode, choices=(), temperature=2.0) for episode in range(8)]
    free = TransformersBackend(model, end_ids=[END], stepper=stepper(model)).sample(queries)
    other = free[0].token_ids[2]
    ended = TransformersBackend(model, end_ids=[END, other], stepper=stepper(model)).sample(queries)
    lengths = [
        min(sample.token_ids.index(token) for token in {END, other} & {*sample.token_ids}) + 1
        if {END, other} & {*sample.token_ids}
        else len(sample.token_ids)
        for sample in free
    ]
    assert min(lengths) < max(lengths)
    assert [sample.token_ids for sample in ended] == [
        sample.token_ids[:length] for sample, length in zip(free, lengths, strict=True)
    ]
    for query, sample in zip(queries, ended, strict=True):
        check_logprobs(model, query, sample)
