"""Answers from vLLM: continuous batching, prefix caching, each answer as soon as it is there."""

from collections.abc import Iterable, Sequence

from torch import nn

from layerbench.agents.backends.base import Answer, Query
from layerbench.agents.backends.sampling import Draft, draw
from layerbench.agents.backends.vllm.engine import Completion, Engine, EngineSettings, Request
from layerbench.agents.backends.vllm.weight_sync import WeightSync

HOTTEST = 2.0
"""Highest temperature that vLLM takes for free text."""


class VLLMBackend:
    """Samples from vLLM with the weights of a live model.

    Where an answer is chosen, vLLM is asked for one token after the other among those that the
    trie allows, and says how likely each of them is. The draw is ours, by the same noise as the
    transformers backend's; tokens that are forced are not asked for. Free text is sampled by vLLM,
    whose noise is another; its log-probabilities are those of the whole vocabulary at the
    temperature.

    Equal calls give equal answers as far as vLLM computes equal logits: these may differ by
    rounding with what else is under way, and where a draw lies that close to an edge the token
    does. Nothing is kept between one play and the next.

    Attributes:
        engine: Who computes.
        sync: How the engine got the model's weights.

    Args:
        model: A causal language model of transformers.
        eos_id: Ends free text.
        settings: How the engine is set up.

    Raises:
        ValueError: vLLM is not installed, or cannot run such a model here.
    """

    def __init__(self, model: nn.Module, *, eos_id: int, settings: EngineSettings) -> None:
        self.engine = Engine(model, settings)
        self.sync = WeightSync(model, self.engine)
        self._eos_id = eos_id
        self._live = set[int]()
        self._drafts: dict[int, Draft] = {}
        self._names: dict[str, int] = {}
        self._ready: dict[int, Answer] = {}

    def answer(self, queries: Sequence[Query]) -> list[Answer]:
        """Sample an answer to each query, and wait for all of them.

        Raises:
            ValueError: Two queries are of the same episode, a context is empty, or free text is
                asked for at a temperature above 2.
        """
        self.submit(queries)
        answers: dict[int, Answer] = {}
        while len(answers) < len(queries):
            answers |= self.collect()
        return [answers[query.episode] for query in queries]

    def submit(self, queries: Sequence[Query]) -> None:
        """Take on queries; the first of a play brings the engine in step with the model.

        Raises:
            ValueError: As ``answer``, also if a query of the same episode is under way.
            EngineError: The engine does not agree with the
                model.
        """
        episodes = [query.episode for query in queries]
        busy = self._drafts.keys() | self._ready.keys()
        if len(set(episodes)) < len(episodes) or busy & set(episodes):
            raise ValueError(f"one query per episode, got {sorted(episodes)}")
        drafts = [_start(query) for query in queries]
        if drafts and not self._live:
            self.engine.wake()
            self.sync.bring_in_step()
            self.engine.forget()
        for draft in drafts:
            self._live.add(draft.query.episode)
            self._advance(draft)

    def collect(self) -> dict[int, Answer]:
        """Wait until a query is answered, and give what is there, by episode."""
        assert self._drafts or self._ready, "nothing was asked"
        while not self._ready:
            for completion in self.engine.step():
                draft = self._drafts.pop(self._names.pop(completion.name))
                _take(draft, completion)
                self._advance(draft)
        ready, self._ready = self._ready, {}
        return ready

    def release(self, episodes: Iterable[int]) -> None:
        """Drop what is under way for these episodes; a GPU is given back after the last."""
        gone = set(episodes)
        names = [name for name, episode in self._names.items() if episode in gone]
        self.engine.abort(names)
        for name in names:
            del self._drafts[self._names.pop(name)]
        for episode in gone & self._ready.keys():
            del self._ready[episode]
        if self._live and not self._live - gone:
            self.engine.sleep()
        self._live -= gone

    def close(self) -> None:
        """Stop the engine."""
        self.engine.close()

    def _advance(self, draft: Draft) -> None:
        """Ask for the next token, or for all of free text, unless the answer is complete."""
        episode = draft.query.episode
        if draft.done:
            self._ready[episode] = draft.answer()
            return
        name = f"{episode}.{len(draft.token_ids)}"
        self.engine.add(_request(draft, name, eos_id=self._eos_id))
        self._drafts[episode] = draft
        self._names[name] = episode


def _start(query: Query) -> Draft:
    draft = Draft.start(query)
    if not query.choices and query.temperature > HOTTEST:
        raise ValueError(
            f"vLLM samples free text at temperatures up to {HOTTEST:g}, not {query.temperature}"
        )
    return draft


def _request(draft: Draft, name: str, *, eos_id: int) -> Request:
    """Word what the engine is to do next."""
    query = draft.query
    if draft.options:
        return Request(name, (*query.context_ids, *draft.token_ids), draft.options)
    return Request(
        name,
        query.context_ids,
        max_tokens=query.max_new_tokens,
        end_id=eos_id,
        temperature=query.temperature,
        seed=query.seed >> 1,
    )


def _take(draft: Draft, completion: Completion) -> None:
    """Append what the engine said, and what that forces."""
    temperature = draft.query.temperature
    if not draft.options:
        draft.token_ids += completion.token_ids
        places = zip(completion.token_ids, completion.logprobs, strict=True)
        draft.logprobs += [at[token] if temperature else 0.0 for token, at in places]
        draft.done = True
        return
    raw = [completion.logprobs[0][token] for token in draft.options]
    draft.choose(*draw(raw, temperature=temperature, noise=draft.noise.random()))
