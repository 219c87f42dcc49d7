import pytest

from layerbench.agents.parsing import parse_action, parse_like_verl_agent


def test_action_comes_back_stripped() -> None:
    assert (
        parse_action("<think>\na\n</think>\n<action> go to desk 1\n</action>\n") == "go to desk 1"
    )


@pytest.mark.parametrize(
    "response",
    [
        "",
        "look",
        "<action>look</action>",
        "<think>a</think>",
        "<think>a</think><action></action>",
        "<think>a</think><action>look",
        "<action>look</action><think>a</think>",
        "<think>a</think><action>look</action><action>open</action>",
        "<think>a</think><think>b</think><action>look</action>",
        "<think>a <action>open</action></think><action>look</action>",
        "<think>a</think>so <action>look</action>",
        "<think>a</think><action>look</action> done",
        "Well, <think>a</think><action>look</action>",
        "<think>a</think><action><think>look</action>",
        "<Think>a</Think><Action>look</Action>",
    ],
)
def test_response_that_breaks_the_form_is_no_action(response: str) -> None:
    assert parse_action(response) is None


def test_thought_that_the_prompt_opened_need_not_be_opened_again() -> None:
    rest = "a\n</think>\n<action>look</action>"
    assert parse_action(rest) is None
    assert parse_action(rest, opened=True) == "look"
    assert parse_action("<think>" + rest, opened=True) == "look"
    assert parse_action("<action>look</action>", opened=True) is None
    assert parse_action("a</think>b</think><action>look</action>", opened=True) is None


@pytest.mark.parametrize(
    ("response", "action", "valid"),
    [
        ("<think>a</think><action>Go To Bed 1</action>", "go to bed 1", True),
        ("So <think>a</think> then\n<action> look </action> done", "look", True),
        ("<action>look</action><think>a</think>", "look", True),
        ("<think>a</think><action>look</action><action>open</action>", "look", True),
        ("<think>a</think><ACTION>look</Action>", "look", True),
        ("<action>look</action>", "look", False),
        ("<Think>a</Think><action>look</action>", "look", False),
        ("<think>去</think><action>look</action>", "look", False),
        (
            "<think>a</think>I would take the KEY from a table",
            "ould take the key from a table",
            False,
        ),
        ("Search[Red Hat]", "search[red hat]", False),
        ("<think>a</think></action><action>look", "", True),
    ],
)
def test_verl_agents_form(response: str, action: str, valid: bool) -> None:
    assert parse_like_verl_agent(response) == (action, valid)


def test_verl_agents_form_where_the_prompt_opened_the_thought() -> None:
    assert parse_like_verl_agent("a</think><action>look</action>", opened=True) == ("look", True)
    assert parse_like_verl_agent("<action>look</action>", thinks=False) == ("look", True)
