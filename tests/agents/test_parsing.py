import pytest

from layerbench.agents.parsing import parse_action


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
