"""A few of the inputs of ``tools/generated_inputs.py``, and texts in the grammars of layers."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layerbench.benchmarks.config import overrides, sections
from layerbench.benchmarks.errors import UserError
from layerbench.benchmarks.runs import resolve
from layerbench.benchmarks.sweep.selection import parse_layers, parse_seeds
from layerbench.rl.lr_scales import parse_scales
from layerbench.rl.selection import parse_selection
from layerbench.rl.types import CONTROLS

TOOL = Path(__file__).parents[3] / "tools" / "generated_inputs.py"

PIECES = st.sampled_from(
    (
        *("0", "1", "9", "12", "-", ",", ":", " ", "middle:", "every:", "top:", "@", "full", "all"),
        *(
            "none",
            "scale",
            "norm",
            "all-layers",
            "999999999",
            "9" * 5000,
            "\u0663",
            "\u00b2",
            "e",
            ".",
            "x",
            "\0",
        ),
    )
)
GRAMMAR = st.lists(PIECES, max_size=6).map("".join)


@pytest.mark.slow
def test_generated_inputs_have_a_good_end() -> None:
    argv = [sys.executable, str(TOOL), "--count", "60", "--seed", "1"]
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=280, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.endswith("60 inputs, 0 with a bad end\n")


@given(GRAMMAR)
def test_layers_are_read_or_refused(text: str) -> None:
    try:
        layers = parse_selection(text, 12).layers
    except UserError:
        return
    assert list(layers) == sorted(set(layers))
    assert set(layers) <= set(range(12))


@given(GRAMMAR)
def test_layers_of_a_sweep_are_read_or_refused(text: str) -> None:
    try:
        words = parse_layers(text, 12)
    except UserError:
        return
    layers = [int(word) for word in words if word not in CONTROLS]
    assert layers == sorted(set(layers))
    assert set(layers) <= set(range(12))


@given(GRAMMAR)
def test_seeds_of_a_sweep_are_read_or_refused(text: str) -> None:
    try:
        seeds = parse_seeds(text)
    except UserError:
        return
    assert list(seeds) == sorted(set(seeds))


@given(GRAMMAR)
def test_rates_are_read_or_refused(text: str) -> None:
    try:
        scales = parse_scales(text)
    except UserError:
        return
    assert all(scale >= 0 for scale in scales.values())


FORM = sections.form_of(resolve.load("keydoor"))
NAMES = [setting.name for setting in overrides.settings_of(FORM)]


@given(st.sampled_from(NAMES), st.text(max_size=12) | GRAMMAR)
def test_overrides_are_taken_or_refused_by_name(name: str, text: str) -> None:
    form = sections.form_of(resolve.load("keydoor"))
    refused = ""
    try:
        overrides.apply([f"{name}={text}"], form)
    except UserError as error:
        refused = str(error)
    assert not refused or refused.startswith(name)
