import pytest

from layerbench.agents import prompts
from layerbench.agents.prompts.from_file import FileStyle, parse
from layerbench.agents.types import ActionMode
from layerbench.envs.types import Observation
from layerbench.errors import UserError

START = Observation("You are in a room. Your task is to: find it. ", ("look", "help"))

FILE = r'''
first_prompt = "See: {observation} Do: [{actions}]."
prompt = """
Task {task} after {steps_taken} step(s), the last {history_length}: {history}
Step {step}: {observation} Do: [{actions}]. {{so}}"""
turn = "[Observation {step}: '{observation}', Action {step}: '{action}']"
action = "'{action}'"
between_turns = "\n"
between_actions = "\n "

[shown_as]
help = ""
"search[<query>]" = "search[<your query>]"
'''


def test_the_first_prompt_has_words_of_its_own() -> None:
    style = FileStyle(parse(FILE))
    assert style.first(START) == f"See: {START.text} Do: ['look']."
    assert style.system == ""


def test_a_later_prompt_tells_the_last_turns_by_their_own_numbers() -> None:
    style = FileStyle(parse(FILE))
    saw = [(Observation("a hall"), "north"), (Observation("a {door}"), "open it")]
    now = Observation("a key", ("take", "search[<query>]"))
    assert style.window(START, saw, now, 3) == (
        "Task find it. after 3 step(s), the last 2: "
        "[Observation 2: 'a hall', Action 2: 'north']\n"
        "[Observation 3: 'a {door}', Action 3: 'open it']\n"
        "Step 4: a key Do: ['take'\n 'search[<your query>]']. {so}"
    )


def test_webshop_shows_the_page_behind_the_instruction_in_quotes() -> None:
    style = FileStyle(parse('prompt = "{task}|{page}|{observation}"'))
    start = Observation("WebShop [SEP] Instruction: [SEP] find a hat [SEP] Search")
    page = Observation("Instruction: [SEP] find a hat [SEP] Back [SEP] Red hat")
    assert style.window(start, [], page, 1) == f"find a hat|'Back' [SEP] 'Red hat'|{page.text}"
    # The page after a purchase has no instruction.
    assert style.window(start, [], Observation("Thank you"), 2) == "find a hat|Thank you|Thank you"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('prompt = "{observaton}"', "no field {observaton}: did you mean 'observation'?"),
        ('prompt = "{task.__class__}"', "no field {task.__class__}"),
        ('prompt = "{task!r}"', "has {task} in another form"),
        ('prompt = "{step:05}"', "has {step} in another form"),
        ('prompt = "{0}"', "no field {0}"),
        ('prompt = "{"', "has a brace alone"),
        ('promt = "a"', "no text named 'promt': did you mean 'prompt'?"),
        ("prompt = 3", "prompt must be text in quotes, got 3"),
        ('turn = "a"', "has no text prompt"),
        ('prompt = "{history}"', "no text turn: say how one is told"),
        ('prompt = "a"\nsystem = "{task}"', "system has no field {task}: it has none"),
        ('prompt = "a"\nshown_as = "b"', "shown_as must be a table"),
        ("prompt =", "words.toml is no TOML: "),
    ],
)
def test_a_mistake_in_the_file_is_told_in_a_line(text: str, message: str) -> None:
    with pytest.raises(UserError) as told:
        parse(text, where="words.toml")
    assert message in str(told.value)
    assert str(told.value).startswith("words.toml")
    assert "\n" not in str(told.value)


def test_the_style_is_made_by_its_name() -> None:
    style = prompts.style("file", ActionMode.GENERATE, prompt_file='prompt = "{observation}!"')
    assert style.first(START) == f"{START.text}!"
    with pytest.raises(UserError, match=r"agent\.context_mode=window"):
        style.later(START, START)
