import pytest

from layerbench.agents.context import ChatFormat
from layerbench.agents.types import ActionMode
from tests.support import tiny_models

TEMPLATES = {
    "chatml": tiny_models.CHATML,
    "forgetful": tiny_models.FORGETFUL,
    "compact": tiny_models.COMPACT,
}


@pytest.mark.parametrize("template", ["chatml", "compact"])
def test_appended_turns_equal_the_template_over_the_whole_chat(template: str) -> None:
    tokenizer = tiny_models.tokenizer(TEMPLATES[template])
    chat = ChatFormat(tokenizer, action_mode=ActionMode.CHOOSE)
    actions = ["take tin key", "open door", "look"]
    observations = ["look key door", "tin key.", "lock.", "silver door"]
    token_ids = list(chat.opening(observations[0], system="system"))
    messages = [
        {"role": "system", "content": "system"},
        {"role": "user", "content": observations[0]},
    ]
    for action, message in zip(actions, observations[1:], strict=True):
        token_ids += chat.action(action)
        token_ids += chat.continuation(message, closed=True)
        messages += [
            {"role": "assistant", "content": action},
            {"role": "user", "content": message},
        ]
    whole = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert token_ids == tokenizer.encode(str(whole), add_special_tokens=False)


def test_template_that_forgets_thoughts_cannot_change_earlier_responses() -> None:
    chat = ChatFormat(tiny_models.tokenizer(tiny_models.FORGETFUL), action_mode=ActionMode.GENERATE)
    token_ids = chat.continuation("look", closed=True)
    assert chat.text(token_ids).split() == [
        "<|im_start|>",
        "user",
        "look",
        "<|im_end|>",
        "<|im_start|>",
        "assistant",
    ]


def test_thoughts_are_turned_off_in_choose_mode() -> None:
    tokenizer = tiny_models.tokenizer(tiny_models.FORGETFUL)
    generating = ChatFormat(tokenizer, action_mode=ActionMode.GENERATE)
    choosing = ChatFormat(tokenizer, action_mode=ActionMode.CHOOSE)
    thought = tuple(tokenizer.encode("<think> </think>"))
    assert choosing.opening("look", system="")[-2:] == thought
    assert choosing.continuation("look", closed=True)[-2:] == thought
    assert thought[0] not in generating.opening("look", system="")


def test_response_that_was_cut_off_is_closed_first() -> None:
    chat = ChatFormat(tiny_models.tokenizer(), action_mode=ActionMode.GENERATE)
    assert chat.continuation("look", closed=False) == (
        chat.end_id,
        *chat.continuation("look", closed=True),
    )


def test_action_ends_with_the_end_token_and_reads_back() -> None:
    chat = ChatFormat(tiny_models.tokenizer(), action_mode=ActionMode.CHOOSE)
    token_ids = chat.action("take tin key")
    assert token_ids[-1] == chat.end_id
    assert token_ids.count(chat.end_id) == 1
    assert chat.text(token_ids) == "take tin key"
    assert chat.text(token_ids[:-1]) == "take tin key"


def test_end_token_is_the_templates_own_where_the_tokenizer_names_another() -> None:
    chat = ChatFormat(tiny_models.tokenizer(eos="<pad>"), action_mode=ActionMode.CHOOSE)
    assert chat.end_id == tiny_models.END


def test_system_message_joins_the_first_where_a_template_refuses_it() -> None:
    refusing = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        + tiny_models.CHATML
    )
    chat = ChatFormat(tiny_models.tokenizer(refusing), action_mode=ActionMode.CHOOSE)
    words = chat.text(chat.opening("look key", system="door"))
    assert words.split()[1:6] == ["user", "door", "look", "key", "<|im_end|>"]


def test_template_without_responses_is_refused() -> None:
    only_users = "{% for m in messages if m['role'] == 'user' %}{{ m['content'] }}{% endfor %}"
    with pytest.raises(ValueError, match="chat template leaves out answers"):
        ChatFormat(tiny_models.tokenizer(only_users), action_mode=ActionMode.CHOOSE)


def test_tokenizer_without_a_template_is_refused() -> None:
    with pytest.raises(ValueError, match="chat template"):
        ChatFormat(tiny_models.tokenizer(None), action_mode=ActionMode.CHOOSE)


def test_thoughts_can_be_turned_off_in_free_text() -> None:
    tokenizer = tiny_models.tokenizer(tiny_models.FORGETFUL)
    chat = ChatFormat(tokenizer, action_mode=ActionMode.GENERATE, thinks=False)
    thought = tuple(tokenizer.encode("<think> </think>"))
    assert chat.opening("look", system="")[-2:] == thought
    assert chat.continuation("look", closed=True)[-2:] == thought


def test_thoughts_cannot_be_turned_off_without_a_switch() -> None:
    with pytest.raises(ValueError, match="no switch for thoughts"):
        ChatFormat(tiny_models.tokenizer(), action_mode=ActionMode.GENERATE, thinks=False)
