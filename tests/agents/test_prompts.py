import pytest

from layerbench.agents import prompts
from layerbench.agents.types import ActionMode
from layerbench.envs.types import Observation

START = Observation("You see a door.", ("look", "open door"))
LATEST = Observation("Nothing happens.", ("look", "take key"))


def test_the_system_message_has_the_rules() -> None:
    style = prompts.style("chat", ActionMode.CHOOSE, rules="You flip a coin.")
    assert style.system.startswith("You flip a coin.\n\n")


def test_only_generate_mode_asks_for_tags() -> None:
    assert "<think>" in prompts.style("chat", ActionMode.GENERATE).system
    assert "<think>" not in prompts.style("chat", ActionMode.CHOOSE).system


def test_messages_hold_the_observation_and_the_actions() -> None:
    style = prompts.style("chat", ActionMode.CHOOSE)
    assert style.first(START) == "You see a door.\n\nPossible actions:\nlook\nopen door"
    assert style.later(START, LATEST) == "Nothing happens.\n\nPossible actions:\nlook\ntake key"


def test_only_an_agent_that_chooses_is_shown_choices() -> None:
    shop = Observation("A shop.", ("search[<query>]",), choices=("search[red hat]",))
    assert "search[<query>]" in prompts.style("chat", ActionMode.GENERATE).first(shop)
    message = prompts.style("chat", ActionMode.CHOOSE).first(shop)
    assert "search[red hat]" in message
    assert "<query>" not in message


def test_window_shows_the_last_turns_with_their_numbers() -> None:
    style = prompts.style("chat", ActionMode.CHOOSE)
    message = style.window(START, [(LATEST, "look"), (START, "take key")], LATEST, 5)
    assert "How the episode began:\nYou see a door." in message
    # Turn 5 from 0 is the sixth, so that the history holds the fourth and the fifth.
    assert "Turn 4. You saw: Nothing happens.\nYou did: look" in message
    assert "Turn 5. You saw: You see a door.\nYou did: take key" in message
    assert "Turn 6, now. You see: Nothing happens.\n\nPossible actions:\nlook\ntake key" in message


def test_window_of_the_first_turn_shows_nothing_twice() -> None:
    style = prompts.style("chat", ActionMode.CHOOSE)
    assert style.window(START, [], START, 0).count("You see a door.") == 1


def test_unknown_style_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean 'compact'"):
        prompts.style("compcat", ActionMode.CHOOSE)


def test_thoughts_that_are_turned_off_are_not_asked_for() -> None:
    style = prompts.style("chat", ActionMode.GENERATE, thinks=False)
    assert "<action>" in style.system
    assert "hink" not in style.system + style.window(START, [], START, 0)
