"""The shapes of public chat templates, and a byte-level tokenizer with their control tokens."""

import datetime
from dataclasses import dataclass
from typing import Any, cast

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from layerbench.agents.plain_text import Tokenizer as ChatTokenizer

_CHATML_TURNS = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
)
_CHATML_DUE = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"

# Qwen2.5 puts a system message of its own where there is none.
QWEN25 = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou help.<|im_end|>\n{% endif %}"
    + _CHATML_TURNS
    + _CHATML_DUE
)
# Qwen3 leaves out the thoughts of earlier turns, and turns them off by an empty one.
_QWEN3_TURNS = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% set text = m['content'] %}"
    "{% if m['role'] == 'assistant' %}{% set text = text.split('</think>')[-1].lstrip('\n') %}"
    "{% endif %}{{ text }}<|im_end|>\n{% endfor %}"
)
QWEN3 = (
    _QWEN3_TURNS
    + "{% if add_generation_prompt %}<|im_start|>assistant\n"
    + "{% if enable_thinking is defined and enable_thinking is false %}"
    + "{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}"
)
QWEN35 = (
    _QWEN3_TURNS
    + "{% if add_generation_prompt %}<|im_start|>assistant\n"
    + "{% if enable_thinking is defined and enable_thinking is false %}"
    + "{{ '<think>\n\n</think>\n\n' }}{% else %}{{ '<think>\n' }}{% endif %}{% endif %}"
)
# Qwen3-Thinking and QwQ: no switch.
QWQ = (
    _QWEN3_TURNS
    + "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n<think>\n' }}{% endif %}"
)
R1 = (
    "{% set ns = namespace(system='') %}"
    "{% for m in messages if m['role'] == 'system' %}{% set ns.system = m['content'] %}{% endfor %}"
    "<s>{{ ns.system }}{% for m in messages %}"
    "{% if m['role'] == 'user' %}<|User|>{{ m['content'] }}"
    "{% elif m['role'] == 'assistant' %}<|Assistant|>{{ m['content'].split('</think>')[-1] }}</s>"
    "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|Assistant|><think>\n' }}{% endif %}"
)
# The thought is opened by the prompt, and empty in earlier turns.
GLM = (
    "[gMASK]{% for m in messages %}<|{{ m['role'] }}|>\n"
    "{% if m['role'] == 'assistant' %}<think></think>\n{% endif %}{{ m['content'] }}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>\n<think>{% endif %}"
)
_LLAMA_TURNS = (
    "{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content']|trim %}"
    "{% set messages = messages[1:] %}{% else %}{% set system = '' %}{% endif %}"
    "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n"
    "Today Date: {{ date_string }}\n\n{{ system }}<|eot_id|>"
    "{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n"
    "{{ m['content']|trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
LLAMA31 = (
    "{% if not date_string is defined %}{% set date_string = '26 Jul 2024' %}{% endif %}"
    + _LLAMA_TURNS
)
LLAMA32 = (
    "{% if not date_string is defined %}{% if strftime_now is defined %}"
    "{% set date_string = strftime_now('%d %b %Y') %}{% else %}"
    "{% set date_string = '26 Jul 2024' %}{% endif %}{% endif %}" + _LLAMA_TURNS
)
GRANITE = (
    "{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] %}"
    "{% set messages = messages[1:] %}{% else %}{% set system = 'You help.' %}{% endif %}"
    "<|start_of_role|>system<|end_of_role|>Today's Date: {{ strftime_now('%B %d, %Y') }}.\n"
    "{{ system }}<|end_of_text|>\n"
    "{% for m in messages %}<|start_of_role|>{{ m['role'] }}<|end_of_role|>{{ m['content'] }}"
    "<|end_of_text|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|start_of_role|>assistant<|end_of_role|>{% endif %}"
)
GEMMA = (
    "<bos>{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    "{% for m in messages %}"
    "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('alternate') }}"
    "{% endif %}{% set role = 'model' if m['role'] == 'assistant' else m['role'] %}"
    "<start_of_turn>{{ role }}\n{{ m['content'] | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
# Gemma 3 has the system message at the beginning of the first user's.
GEMMA3 = (
    "<bos>{% if messages[0]['role'] == 'system' %}{% set first = messages[0]['content'] + '\n\n' %}"
    "{% set messages = messages[1:] %}{% else %}{% set first = '' %}{% endif %}"
    "{% for m in messages %}{% set role = 'model' if m['role'] == 'assistant' else m['role'] %}"
    "<start_of_turn>{{ role }}\n{{ first if loop.first else '' }}{{ m['content'] | trim }}"
    "<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
# Mistral 0.3 moves the system message to the last user's, and has a blank before an answer.
MISTRAL = (
    "{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] %}"
    "{% set messages = messages[1:] %}{% endif %}<s>{% for m in messages %}"
    "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('alternate') }}"
    "{% endif %}{% if m['role'] == 'user' %}"
    "[INST] {{ system + '\n\n' if loop.last and system is defined else '' }}"
    "{{ m['content'] }}[/INST]"
    "{% else %} {{ m['content'] }}</s>{% endif %}{% endfor %}"
)
GPT_OSS = (
    "<|start|>system<|message|>Current date: {{ strftime_now('%Y-%m-%d') }}<|end|>"
    "{% for m in messages %}"
    "{% if m['role'] == 'system' %}<|start|>developer<|message|>{{ m['content'] }}<|end|>"
    "{% elif m['role'] == 'user' %}<|start|>user<|message|>{{ m['content'] }}<|end|>"
    "{% else %}<|start|>assistant<|channel|>final<|message|>{{ m['content'] }}<|end|>{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|start|>assistant{% endif %}"
)


@dataclass(frozen=True, slots=True)
class Shape:
    """A template, what ends an answer, and whether the prompt opens a thought."""

    template: str
    end: str
    opens_thought: bool = False


SHAPES = {
    "qwen2.5": Shape(QWEN25, "<|im_end|>"),
    "qwen3": Shape(QWEN3, "<|im_end|>"),
    "qwen3.5": Shape(QWEN35, "<|im_end|>", opens_thought=True),
    "qwq": Shape(QWQ, "<|im_end|>", opens_thought=True),
    "r1-distill": Shape(R1, "</s>", opens_thought=True),
    "llama3.1": Shape(LLAMA31, "<|eot_id|>"),
    "llama3.2": Shape(LLAMA32, "<|eot_id|>"),
    "granite": Shape(GRANITE, "<|end_of_text|>"),
    "gemma2": Shape(GEMMA, "<end_of_turn>"),
    "gemma3": Shape(GEMMA3, "<end_of_turn>"),
    "mistral": Shape(MISTRAL, "</s>"),
    "gpt-oss": Shape(GPT_OSS, "<|end|>"),
}
"""Templates that can be served, by the model that has one of this shape."""

SPECIAL = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<s>", "</s>", "<|User|>", "<|Assistant|>"),
    *("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|eom_id|>"),
    *("<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>", "[INST]", "[/INST]", "[gMASK]"),
    *("<bos>", "<start_of_turn>", "<end_of_turn>", "<|user|>", "<|assistant|>"),
    *("<|start|>", "<|message|>", "<|channel|>", "<|end|>", "<|return|>"),
)
"""Added tokens that are marked as special."""

UNMARKED = ("<think>", "</think>", "<tool_call>", "◁think▷")
"""Control tokens that are not."""

TEXT = ("fridge", "   ", "\n\n")
"""Added tokens that are text."""


def tokenizer(template: str, *, eos: str = "<|endoftext|>", lower: bool = False) -> ChatTokenizer:
    """Make a byte-level tokenizer of one token a character, and some of a word."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("Ġ", "l"), ("o", "o"), ("oo", "k"), ("Ġl", "ook"), ("l", "ook"), ("<", "|")]
    words = [*alphabet, *("".join(pair) for pair in merges)]
    backend: Any = Tokenizer(
        models.BPE(vocab={word: index for index, word in enumerate(words)}, merges=merges)
    )
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    if lower:
        backend.normalizer = normalizers.Lowercase()
    added: list[Any] = [AddedToken(word, special=True, normalized=False) for word in SPECIAL]
    added += [AddedToken(word, special=False, normalized=lower) for word in (*UNMARKED, *TEXT)]
    backend.add_tokens(added)
    fast: Any = PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token=eos, clean_up_tokenization_spaces=False
    )
    fast.chat_template = template
    return cast(ChatTokenizer, fast)


def rendered(template: str, messages: list[tuple[str, str]], **values: object) -> str:
    """Render a template by jinja alone, with the generation prompt, on 26 July 2024."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )

    def refuse(reason: str) -> None:
        raise TemplateError(reason)

    functions: Any = environment.globals
    functions["raise_exception"] = refuse
    functions["strftime_now"] = datetime.date(2024, 7, 26).strftime
    chat = [{"role": role, "content": text} for role, text in messages]
    return environment.from_string(template).render(
        messages=chat, add_generation_prompt=True, **values
    )
