import dataclasses
from collections.abc import Sequence

import pytest

from layerbench.agents import prompts
from layerbench.agents.agent import AgentSettings, LLMAgent, Moment
from layerbench.agents.backends.base import Query
from layerbench.agents.backends.scripted import ScriptedBackend
from layerbench.agents.types import ActionMode, ContextMode, Response, Turn
from layerbench.envs.types import Observation
from tests.support import tiny_models
from tests.support.tiny_models import END

TOKENIZER = tiny_models.tokenizer()
SEEN = Observation("key door", ("look", "take key", "open door"))
SETTINGS = AgentSettings(
    action_mode=ActionMode.CHOOSE,
    context_mode=ContextMode.TRANSCRIPT,
    history=2,
    max_prompt_tokens=1000,
    max_response_tokens=8,
    max_context_tokens=1000,
)
GENERATE = dataclasses.replace(SETTINGS, action_mode=ActionMode.GENERATE)
WINDOW = dataclasses.replace(SETTINGS, context_mode=ContextMode.WINDOW)


def ids(text: str) -> tuple[int, ...]:
    return tuple(TOKENIZER.encode(text))


def saying(*answers: str) -> ScriptedBackend:
    """Answer one text after another, each with an end token."""
    left = list(answers)
    return ScriptedBackend(lambda _query: (*ids(left.pop(0)), END))


def agent(backend: ScriptedBackend, settings: AgentSettings = SETTINGS) -> LLMAgent:
    style = prompts.style("generic", settings.action_mode)
    return LLMAgent(backend, TOKENIZER, style, settings)


def moment(turns: Sequence[Turn] = (), *, now: Observation = SEEN, episode: int = 0) -> Moment:
    return Moment(episode=episode, seed=5, start=SEEN, turns=turns, now=now)


def turn(text: str, *, seen: str = "tin", prompt: Sequence[int] = (7, 8)) -> Turn:
    token_ids = (*ids(text), END)
    response = Response(tuple(prompt), token_ids, (0.0,) * len(token_ids), (), text)
    return Turn(Observation(seen), response, text, valid=True, reward=0.0)


def test_chosen_answer_is_the_action_it_stands_for() -> None:
    decision = agent(saying("take key")).respond([moment()], temperature=1.0)[0]
    assert decision is not None
    assert (decision.action, decision.valid) == ("take key", True)
    assert decision.response.text == "take key"
    assert decision.response.token_ids == (*ids("take key"), END)
    # Of three actions with three first tokens, the first token is the decision.
    assert [len(allowed) for allowed in decision.response.allowed_ids] == [3, 1, 1]


def test_query_offers_exactly_the_admissible_actions() -> None:
    backend = saying("look")
    agent(backend).respond([moment()], temperature=0.5)
    assert backend.queries[0].temperature == 0.5
    assert backend.queries[0].choices == tuple(
        (*ids(action), END) for action in SEEN.admissible_actions
    )


@pytest.mark.parametrize(
    ("said", "action", "valid"),
    [
        ("<think> key </think> <action> take key </action>", "take key", True),
        ("<think> key </think> <action> take door </action>", "take door", False),
        ("take key", None, False),
        ("<action> take key </action>", None, False),
    ],
)
def test_free_text_counts_only_in_form_and_admissible(
    said: str, action: str | None, valid: bool
) -> None:
    backend = saying(said)
    decision = agent(backend, GENERATE).respond([moment()], temperature=1.0)[0]
    assert decision is not None
    assert (decision.action, decision.valid) == (action, valid)
    assert decision.response.text == said
    assert backend.queries[0].choices == ()


def test_any_action_is_valid_where_the_environment_lists_none() -> None:
    said = "<think> key </think> <action> open key </action>"
    decision = agent(saying(said), GENERATE).respond(
        [moment(now=Observation("key"))], temperature=1.0
    )[0]
    assert decision is not None
    assert decision.valid


def test_choosing_without_listed_actions_is_an_error() -> None:
    with pytest.raises(ValueError, match="use action mode generate"):
        agent(saying("look")).respond([moment(now=Observation("key"))], temperature=1.0)


def test_transcript_only_grows() -> None:
    backend = saying("look", "take key", "open door")
    player = agent(backend)
    turns: list[Turn] = []
    for step in range(3):
        now = Observation(f"key {'door ' * step}", SEEN.admissible_actions)
        decision = player.respond([moment(turns, now=now)], temperature=1.0)[0]
        assert decision is not None
        turns.append(Turn(now, decision.response, decision.action, valid=True, reward=0.0))
    said: list[int] = []
    for query, played in zip(backend.queries, turns, strict=True):
        assert list(query.context_ids) == said + list(played.response.prompt_ids)
        said = [*query.context_ids, *played.response.token_ids]


def test_window_tells_the_last_turns_alone() -> None:
    backend = saying("look")
    turns = [turn("take key", seen="gold"), turn("look", seen="iron"), turn("look", seen="tin")]
    decision = agent(backend, WINDOW).respond([moment(turns)], temperature=1.0)[0]
    assert decision is not None
    read = TOKENIZER.decode(list(backend.queries[0].context_ids)).split()
    assert "gold" not in read
    assert read.index("iron") < read.index("tin")
    assert decision.response.prompt_ids == backend.queries[0].context_ids


def test_window_leaves_out_the_oldest_turns_to_fit() -> None:
    turns = [turn("look", seen="gold"), turn("look", seen="iron")]
    lengths: list[int] = []
    for history in (2, 1, 0):
        backend = saying("look")
        settings = dataclasses.replace(WINDOW, history=history)
        agent(backend, settings).respond([moment(turns)], temperature=1.0)
        lengths.append(len(backend.queries[0].context_ids))
    assert lengths[0] > lengths[1] > lengths[2]
    for limit, expected in (
        (lengths[0], lengths[0]),
        (lengths[0] - 1, lengths[1]),
        (lengths[1] - 1, lengths[2]),
    ):
        backend = saying("look")
        settings = dataclasses.replace(WINDOW, max_prompt_tokens=limit)
        agent(backend, settings).respond([moment(turns)], temperature=1.0)
        assert len(backend.queries[0].context_ids) == expected
    settings = dataclasses.replace(WINDOW, max_prompt_tokens=lengths[2] - 1)
    assert agent(saying(), settings).respond([moment(turns)], temperature=1.0) == [None]


def test_full_context_is_not_asked() -> None:
    backend = saying("look")
    agent(backend).respond([moment()], temperature=1.0)
    # The longest action is two words and the end token.
    needed = len(backend.queries[0].context_ids) + 3
    for room, answered in ((needed, True), (needed - 1, False)):
        settings = dataclasses.replace(SETTINGS, max_context_tokens=room)
        decision = agent(saying("look"), settings).respond([moment()], temperature=1.0)[0]
        assert (decision is not None) is answered


def test_full_contexts_do_not_shift_the_others_answers() -> None:
    backend = saying("look", "open door")
    long = Observation("key " * 995, SEEN.admissible_actions)
    moments = [
        moment(episode=0),
        moment([turn("look")], now=long, episode=1),
        moment(episode=2),
    ]
    decisions = agent(backend).respond(moments, temperature=1.0)
    assert [d.action if d else None for d in decisions] == ["look", None, "open door"]


def test_every_turn_of_every_episode_has_its_own_noise() -> None:
    backend = ScriptedBackend(lambda _query: (*ids("look"), END))
    player = agent(backend)
    for seed in (0, 1):
        for turns in ([], [turn("look")], [turn("look"), turn("look")]):
            asked = dataclasses.replace(moment(turns), seed=seed)
            player.respond([asked, dataclasses.replace(asked, episode=1)], temperature=1.0)
    seeds = [query.seed for query in backend.queries]
    assert len(set(seeds)) == 6
    assert seeds[0::2] == seeds[1::2]


def test_actions_with_equal_tokens_count_once() -> None:
    def first_choice(query: Query) -> tuple[int, ...]:
        assert len(query.choices) == 2
        return query.choices[0]

    # Neither word is in the vocabulary, so that both become the same unknown token.
    now = Observation("key", ("zyzzyva", "quagga", "look"))
    decision = agent(ScriptedBackend(first_choice)).respond([moment(now=now)], temperature=1.0)[0]
    assert decision is not None
    assert decision.action == "zyzzyva"


SHOP = Observation("tin", ("look[<query>]", "take key"), choices=("take key", "open door"))


def test_an_agent_that_chooses_is_offered_choices_in_place_of_templates() -> None:
    offered: list[tuple[int, ...]] = []

    def answer(query: Query) -> tuple[int, ...]:
        offered.extend(query.choices)
        return (*ids("open door"), END)

    decision = agent(ScriptedBackend(answer)).respond([moment(now=SHOP)], temperature=1.0)[0]
    assert offered == [(*ids(text), END) for text in SHOP.choices]
    assert decision is not None
    assert (decision.action, decision.valid) == ("open door", True)


@pytest.mark.parametrize(("action", "valid"), [("look[tin key]", True), ("look[]", False)])
def test_free_text_may_fill_in_a_template(
    action: str, valid: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = tiny_models.tokenizer()
    said = f"<think>?</think><action>{action}</action>"

    def decode(_token_ids: object, **_options: object) -> str:
        return said

    monkeypatch.setattr(tokenizer, "decode", decode)
    style = prompts.style("generic", ActionMode.GENERATE)
    player = LLMAgent(saying("tin"), tokenizer, style, GENERATE)
    decision = player.respond([moment(now=SHOP)], temperature=1.0)[0]
    assert decision is not None
    assert (decision.action, decision.valid) == (action, valid)


@pytest.mark.parametrize(
    ("said", "action"),
    [
        ("<action> take key </action>", "take key"),
        ("<think> key </think> <action> take key </action>", None),
        ("take key", None),
    ],
)
def test_action_alone_is_in_form_where_thoughts_are_turned_off(
    said: str, action: str | None
) -> None:
    tokenizer = tiny_models.tokenizer(tiny_models.FORGETFUL)
    settings = dataclasses.replace(GENERATE, thinks=False)
    style = prompts.style("generic", ActionMode.GENERATE, thinks=False)
    player = LLMAgent(saying(said), tokenizer, style, settings)
    decision = player.respond([moment()], temperature=1.0)[0]
    assert decision is not None
    assert (decision.action, decision.valid) == (action, action is not None)
