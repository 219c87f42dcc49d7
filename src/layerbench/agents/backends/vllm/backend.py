"""Backend that samples by vLLM: continuous batching, prefix caching, streamed responses."""

from collections.abc import Collection, Iterable, Sequence

from torch import nn

from layerbench.agents.backends.base import Query, Sample
from layerbench.agents.backends.sampling import Draft, draw
from layerbench.agents.backends.vllm.engine import Completion, Engine, EngineSettings, Request
from layerbench.agents.backends.vllm.weight_sync import WeightSync
from layerbench.errors import UserError

MAX_TEMPERATURE = 2.0
"""Highest temperature that vLLM accepts for free text."""


class VLLMBackend:
    """Samples from vLLM with the weights of a live model.

    For a chosen response, vLLM scores the tokens that the trie allows, one position after another.
    The draw is made here, with the same noise as in the transformers backend; forced tokens need
    no request. Free text is sampled by vLLM with noise of its own; its log-probabilities are those
    of the whole vocabulary at the temperature.

    Equal calls give equal samples as far as vLLM computes equal logits: these may differ by
    rounding with the other requests of the batch, and where a draw lies that close to an edge the
    token differs too. Nothing is cached from one rollout to the next.

    Attributes:
        engine: The vLLM engine.
        sync: Sends the model's weights to the engine.

    Args:
        model: A causal language model of transformers.
        end_ids: Tokens that end free text.
        settings: How the engine is set up.

    Raises:
        UserError: vLLM is not installed, or cannot run such a model here.
    """

    def __init__(
        self, model: nn.Module, *, end_ids: Collection[int], settings: EngineSettings
    ) -> None:
        self.engine = Engine(model, settings)
        self.sync = WeightSync(model, self.engine)
        self._end_ids = tuple(end_ids)
        self._live = set[int]()
        self._drafts: dict[int, Draft] = {}
        self._names: dict[str, int] = {}
        self._ready: dict[int, Sample] = {}

    def sample(self, queries: Sequence[Query]) -> list[Sample]:
        """Sample a response to each query, and wait for all of them.

        Raises:
            ValueError: Two queries are of the same episode, or a context is empty.
            UserError: Free text has a temperature above 2.
        """
        self.submit(queries)
        samples: dict[int, Sample] = {}
        while len(samples) < len(queries):
            samples |= self.collect()
        return [samples[query.episode] for query in queries]

    def submit(self, queries: Sequence[Query]) -> None:
        """Start sampling; the first call of a rollout sends changed weights to the engine.

        Raises:
            ValueError: As ``sample``, also if a query of the same episode is pending.
            UserError: As ``sample``.
            EngineError: The engine does not agree with the model.
        """
        episodes = [query.episode for query in queries]
        busy = self._drafts.keys() | self._ready.keys()
        if len(set(episodes)) < len(episodes) or busy & set(episodes):
            raise ValueError(f"one query per episode, got {sorted(episodes)}")
        drafts = [_start(query) for query in queries]
        # Only between rollouts: the episodes of one are all sampled from equal weights.
        if drafts and not self._live:
            self.engine.wake()
            self.sync.send_changes()
            self.engine.forget()
        for draft in drafts:
            self._live.add(draft.query.episode)
            self._advance(draft)

    def collect(self) -> dict[int, Sample]:
        """Wait for at least one response, and give all that are complete, by episode."""
        assert self._drafts or self._ready, "nothing was asked"
        while not self._ready:
            for completion in self.engine.step():
                draft = self._drafts.pop(self._names.pop(completion.name))
                _take(draft, completion)
                self._advance(draft)
        ready, self._ready = self._ready, {}
        return ready

    def release(self, episodes: Iterable[int]) -> None:
        """Drop the requests of these episodes; with the last one the GPU's memory is freed."""
        ended = set(episodes)
        names = [name for name, episode in self._names.items() if episode in ended]
        self.engine.abort(names)
        for name in names:
            del self._drafts[self._names.pop(name)]
        for episode in ended & self._ready.keys():
            del self._ready[episode]
        if self._live and not self._live - ended:
            self.engine.sleep()
        self._live -= ended

    def close(self) -> None:
        """Stop the engine."""
        self.engine.close()

    def _advance(self, draft: Draft) -> None:
        """Request the next token, or all of free text, unless the response is complete."""
        episode = draft.query.episode
        if draft.done:
            self._ready[episode] = draft.result()
            return
        name = f"{episode}.{len(draft.token_ids)}"
        self.engine.add(_request(draft, name, end_ids=self._end_ids))
        self._drafts[episode] = draft
        self._names[name] = episode


def _start(query: Query) -> Draft:
    draft = Draft.start(query)
    if not query.choices and query.temperature > MAX_TEMPERATURE:
        raise UserError(
            f"vLLM samples free text at temperatures up to {MAX_TEMPERATURE:g}, "
            f"not {query.temperature}"
        )
    return draft


def _request(draft: Draft, name: str, *, end_ids: tuple[int, ...]) -> Request:
    """Make the engine's next request for a draft."""
    query = draft.query
    if draft.options:
        return Request(name, (*query.context_ids, *draft.token_ids), draft.options)
    return Request(
        name,
        query.context_ids,
        max_tokens=query.max_new_tokens,
        end_ids=end_ids,
        temperature=query.temperature,
        # vLLM takes seeds as signed 64-bit numbers.
        seed=query.seed >> 1,
    )


def _take(draft: Draft, completion: Completion) -> None:
    """Append the engine's tokens, and those that they force."""
    temperature = draft.query.temperature
    if not draft.options:
        draft.token_ids += completion.token_ids
        pairs = zip(completion.token_ids, completion.logprobs, strict=True)
        draft.logprobs += [scores[token] if temperature else 0.0 for token, scores in pairs]
        draft.done = True
        return
    # At temperature 1, so that they are the logits up to a constant.
    logits = [completion.logprobs[0][token] for token in draft.options]
    draft.choose(*draw(logits, temperature=temperature, noise=draft.noise.random()))
