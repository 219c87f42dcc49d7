"""KeyDoor can be solved by hand, and only by the right key."""

import pytest

from layerbench.envs.keydoor import KeyDoor
from layerbench.envs.keydoor.env import list_tasks


def play(env: KeyDoor, room: str, *actions: str) -> list[tuple[str, float, bool]]:
    env.reset(options={"room": room})
    return [env.step(action)[:3] for action in actions]


def test_the_key_opens_the_door() -> None:
    assert play(KeyDoor(), "tin/tin/pine", "open door", "take key", "look", "open door") == [
        ("Nothing happens.", 0.0, False),
        ("You hold the key.", 0.0, False),
        ("You see a tin key and a pine door with a tin lock. You hold the tin key.", 0.0, False),
        ("The door opens.", 1.0, True),
    ]


def test_the_wrong_key_does_not_open_the_door() -> None:
    assert play(
        KeyDoor(num_keys=2),
        "tin+gold/gold/pine",
        "take tin key",
        "open door",
        "take gold key",
        "open door",
    ) == [
        ("You hold the tin key.", 0.0, False),
        ("Nothing happens.", 0.0, False),
        ("You hold the gold key.", 0.0, False),
        ("The door opens.", 1.0, True),
    ]


def test_the_anchor_tells_equal_texts_of_different_states_apart() -> None:
    env = KeyDoor(num_keys=2)
    env.reset(options={"room": "tin+gold/gold/pine"})
    before = env.step("dance")
    env.step("take tin key")
    after = env.step("dance")
    assert before[0] == after[0]
    assert before[4]["anchor"] != after[4]["anchor"]


def test_a_step_after_the_door_opened_is_refused() -> None:
    env = KeyDoor()
    play(env, "tin/tin/pine", "take key", "open door")
    with pytest.raises(RuntimeError, match="the episode has ended: reset before the next step"):
        env.step("open door")


def test_an_unknown_room_is_refused() -> None:
    with pytest.raises(ValueError, match="no room 'cellar': rooms are named like 'brass/"):
        KeyDoor().reset(options={"room": "cellar"})


# 8 metals, 8 woods: 64 rooms with one key; 8 * 7 ordered pairs * 2 locks * 8 woods = 896 with two.
# A quarter of them is for the test.
@pytest.mark.parametrize(("num_keys", "train", "test"), [(1, 48, 16), (2, 672, 224)])
def test_no_room_is_in_both_splits(num_keys: int, train: int, test: int) -> None:
    trained = {t.task_id for t in list_tasks(split="train", count=None, seed=0, num_keys=num_keys)}
    tested = {t.task_id for t in list_tasks(split="test", count=None, seed=1, num_keys=num_keys)}
    assert (len(trained), len(tested), trained & tested) == (train, test, set())


def test_more_rooms_than_there_are_is_an_error() -> None:
    with pytest.raises(ValueError, match="'test' has 16 rooms of this kind, not 17"):
        list_tasks(split="test", count=17, seed=0)


@pytest.mark.parametrize("num_keys", [0, 4])
def test_a_room_has_one_to_three_keys(num_keys: int) -> None:
    with pytest.raises(ValueError, match=f"1 to 3 keys, not {num_keys}"):
        KeyDoor(num_keys=num_keys)
