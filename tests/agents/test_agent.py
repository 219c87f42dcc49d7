import dataclasses
from collections.abc import Sequence

import pytest

from layerbench.agents import prompts
from layerbench.agents.agent import AgentSettings, EpisodeState, LLMAgent, SharedTokensError
from layerbench.agents.backends.base import Query
from layerbench.agents.backends.endpoint import ChatAnswer, ChatQuery
from layerbench.agents.backends.scripted import ScriptedBackend
from layerbench.agents.chat_agent import ChatAgent
from layerbench.agents.types import ActionMode, ContextMode, Response, Turn
from layerbench.envs.types import Observation
from tests.support import tiny_models
from tests.support.tiny_models import END

TOKENIZER = tiny_models.tokenizer()
FIRST = Observation("key door", ("look", "take key", "open door"))
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


def saying(*texts: str) -> ScriptedBackend:
    """Make a backend that gives one text after another, each with an end token."""
    remaining = list(texts)
    return ScriptedBackend(lambda _query: (*ids(remaining.pop(0)), END))


def agent(backend: ScriptedBackend, settings: AgentSettings = SETTINGS) -> LLMAgent:
    style = prompts.style("chat", settings.action_mode)
    return LLMAgent(backend, TOKENIZER, style, settings)


def state(
    turns: Sequence[Turn] = (), *, observation: Observation = FIRST, episode: int = 0
) -> EpisodeState:
    return EpisodeState(episode=episode, seed=5, start=FIRST, turns=turns, observation=observation)


def turn(text: str, *, seen: str = "tin", prompt: Sequence[int] = (7, 8)) -> Turn:
    token_ids = (*ids(text), END)
    response = Response(tuple(prompt), token_ids, (0.0,) * len(token_ids), (), text)
    return Turn(Observation(seen), response, text, valid=True, reward=0.0)


def test_chosen_response_is_its_action() -> None:
    parsed = agent(saying("take key")).respond([state()], temperature=1.0)[0]
    assert parsed is not None
    assert (parsed.action, parsed.valid) == ("take key", True)
    assert parsed.response.text == "take key"
    assert parsed.response.token_ids == (*ids("take key"), END)
    # Of three actions with three first tokens, the first token alone is free.
    assert [len(allowed) for allowed in parsed.response.allowed_ids] == [3, 1, 1]


def test_query_offers_exactly_the_admissible_actions() -> None:
    backend = saying("look")
    agent(backend).respond([state()], temperature=0.5)
    assert backend.queries[0].temperature == 0.5
    assert backend.queries[0].choices == tuple(
        (*ids(action), END) for action in FIRST.admissible_actions
    )


@pytest.mark.parametrize(
    ("text", "action", "valid"),
    [
        ("<think> key </think> <action> take key </action>", "take key", True),
        ("<think> key </think> <action> take door </action>", "take door", False),
        ("take key", None, False),
        ("<action> take key </action>", None, False),
    ],
)
def test_free_text_counts_only_in_form_and_admissible(
    text: str, action: str | None, valid: bool
) -> None:
    backend = saying(text)
    parsed = agent(backend, GENERATE).respond([state()], temperature=1.0)[0]
    assert parsed is not None
    assert (parsed.action, parsed.valid) == (action, valid)
    assert parsed.response.text == text
    assert backend.queries[0].choices == ()


def test_any_action_is_valid_where_the_environment_lists_none() -> None:
    text = "<think> key </think> <action> open key </action>"
    parsed = agent(saying(text), GENERATE).respond(
        [state(observation=Observation("key"))], temperature=1.0
    )[0]
    assert parsed is not None
    assert parsed.valid


def test_choosing_without_listed_actions_is_an_error() -> None:
    with pytest.raises(ValueError, match="use action mode generate"):
        agent(saying("look")).respond([state(observation=Observation("key"))], temperature=1.0)


def test_transcript_only_grows() -> None:
    backend = saying("look", "take key", "open door")
    player = agent(backend)
    turns: list[Turn] = []
    for step in range(3):
        observation = Observation(f"key {'door ' * step}", FIRST.admissible_actions)
        parsed = player.respond([state(turns, observation=observation)], temperature=1.0)[0]
        assert parsed is not None
        turns.append(Turn(observation, parsed.response, parsed.action, valid=True, reward=0.0))
    read: list[int] = []
    for query, played in zip(backend.queries, turns, strict=True):
        assert list(query.context_ids) == read + list(played.response.prompt_ids)
        read = [*query.context_ids, *played.response.token_ids]


def test_window_shows_the_last_turns_alone() -> None:
    backend = saying("look")
    turns = [turn("take key", seen="gold"), turn("look", seen="iron"), turn("look", seen="tin")]
    parsed = agent(backend, WINDOW).respond([state(turns)], temperature=1.0)[0]
    assert parsed is not None
    read = TOKENIZER.decode(list(backend.queries[0].context_ids)).split()
    assert "gold" not in read
    assert read.index("iron") < read.index("tin")
    assert parsed.response.prompt_ids == backend.queries[0].context_ids


def test_window_leaves_out_the_oldest_turns_to_fit() -> None:
    turns = [turn("look", seen="gold"), turn("look", seen="iron")]
    lengths: list[int] = []
    for history in (2, 1, 0):
        backend = saying("look")
        settings = dataclasses.replace(WINDOW, history=history)
        agent(backend, settings).respond([state(turns)], temperature=1.0)
        lengths.append(len(backend.queries[0].context_ids))
    assert lengths[0] > lengths[1] > lengths[2]
    for limit, expected in (
        (lengths[0], lengths[0]),
        (lengths[0] - 1, lengths[1]),
        (lengths[1] - 1, lengths[2]),
    ):
        backend = saying("look")
        settings = dataclasses.replace(WINDOW, max_prompt_tokens=limit)
        agent(backend, settings).respond([state(turns)], temperature=1.0)
        assert len(backend.queries[0].context_ids) == expected
    settings = dataclasses.replace(WINDOW, max_prompt_tokens=lengths[2] - 1)
    assert agent(saying(), settings).respond([state(turns)], temperature=1.0) == [None]


def test_full_context_gets_no_response() -> None:
    backend = saying("look")
    agent(backend).respond([state()], temperature=1.0)
    # The longest action is two words and the end token.
    needed = len(backend.queries[0].context_ids) + 3
    for limit, fits in ((needed, True), (needed - 1, False)):
        settings = dataclasses.replace(SETTINGS, max_context_tokens=limit)
        parsed = agent(saying("look"), settings).respond([state()], temperature=1.0)[0]
        assert (parsed is not None) is fits


def test_full_contexts_do_not_shift_the_others_responses() -> None:
    backend = saying("look", "open door")
    long = Observation("key " * 995, FIRST.admissible_actions)
    states = [
        state(episode=0),
        state([turn("look")], observation=long, episode=1),
        state(episode=2),
    ]
    responses = agent(backend).respond(states, temperature=1.0)
    assert [p.action if p else None for p in responses] == ["look", None, "open door"]


def test_every_turn_of_every_episode_has_its_own_noise() -> None:
    backend = ScriptedBackend(lambda _query: (*ids("look"), END))
    player = agent(backend)
    for seed in (0, 1):
        for turns in ([], [turn("look")], [turn("look"), turn("look")]):
            first = dataclasses.replace(state(turns), seed=seed)
            player.respond([first, dataclasses.replace(first, episode=1)], temperature=1.0)
    seeds = [query.seed for query in backend.queries]
    assert len(set(seeds)) == 6
    assert seeds[0::2] == seeds[1::2]


SHOP = Observation("tin", ("look[<query>]", "take key"), choices=("take key", "open door"))


def test_an_agent_that_chooses_is_offered_choices_in_place_of_templates() -> None:
    offered: list[tuple[int, ...]] = []

    def last_choice(query: Query) -> tuple[int, ...]:
        offered.extend(query.choices)
        return (*ids("open door"), END)

    player = agent(ScriptedBackend(last_choice))
    parsed = player.respond([state(observation=SHOP)], temperature=1.0)[0]
    assert offered == [(*ids(text), END) for text in SHOP.choices]
    assert parsed is not None
    assert (parsed.action, parsed.valid) == ("open door", True)


@pytest.mark.parametrize(("action", "valid"), [("look[tin key]", True), ("look[]", False)])
def test_free_text_may_fill_in_a_template(
    action: str, valid: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = tiny_models.tokenizer()
    text = f"<think>?</think><action>{action}</action>"

    def decode(_token_ids: object, **_options: object) -> str:
        return text

    monkeypatch.setattr(tokenizer, "decode", decode)
    style = prompts.style("chat", ActionMode.GENERATE)
    player = LLMAgent(saying("tin"), tokenizer, style, GENERATE)
    parsed = player.respond([state(observation=SHOP)], temperature=1.0)[0]
    assert parsed is not None
    assert (parsed.action, parsed.valid) == (action, valid)


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("<action> take key </action>", "take key"),
        ("<think> key </think> <action> take key </action>", None),
        ("take key", None),
    ],
)
def test_action_alone_is_in_form_where_thoughts_are_turned_off(
    text: str, action: str | None
) -> None:
    tokenizer = tiny_models.tokenizer(tiny_models.FORGETFUL)
    settings = dataclasses.replace(GENERATE, thinks=False)
    style = prompts.style("chat", ActionMode.GENERATE, thinks=False)
    player = LLMAgent(saying(text), tokenizer, style, settings)
    parsed = player.respond([state()], temperature=1.0)[0]
    assert parsed is not None
    assert (parsed.action, parsed.valid) == (action, action is not None)


def test_rest_of_a_thought_that_a_server_opened_counts() -> None:
    observation = Observation("", admissible_actions=("look",))
    answer = ChatAnswer("Hm.\n</think><action>look</action>", "", "m", None, None)

    class Server:
        def ask(self, queries: Sequence[ChatQuery]) -> list[ChatAnswer | None]:
            return [answer for _ in queries]

    agent = ChatAgent(Server(), prompts.style("chat", ActionMode.GENERATE), GENERATE)
    (parsed,) = agent.respond([state(observation=observation)], temperature=1.0)
    assert parsed is not None
    assert (parsed.action, parsed.valid) == ("look", True)


def test_actions_with_the_same_tokens_are_refused_by_name() -> None:
    twins = Observation("key", ("look", "take qux", "take quux"))
    with pytest.raises(SharedTokensError, match="'take qux' and 'take quux' have the same tokens"):
        agent(saying("look")).respond([state(observation=twins)], temperature=1.0)


@pytest.mark.parametrize("chosen", ["take key", "take", "take key door"])
def test_action_that_begins_another_can_be_chosen_as_it_is(chosen: str) -> None:
    nested = Observation("key", ("take", "take key", "take key door"))
    (parsed,) = agent(saying(chosen)).respond([state(observation=nested)], temperature=1.0)
    assert parsed is not None
    assert (parsed.action, parsed.valid) == (chosen, True)
    # After each word the response may end or go on, where there is a longer action.
    lengths = [len(allowed) for allowed in parsed.response.allowed_ids]
    assert lengths == {"take": [1, 2], "take key": [1, 2, 2], "take key door": [1, 2, 2, 1]}[chosen]
