"""Test that A1111's text is recognised by its settings, wherever these stand."""

from __future__ import annotations

from pathlib import Path

import pytest

from sdcli.interop.a1111_record import read_a1111
from sdcli.storage.metadata.a1111_parameters import ParametersText, parse_text
from tests.interop.images import png

SETTINGS = "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 5, Size: 512x512"


@pytest.mark.parametrize(
    "text",
    [
        "a: b, c: d, e: f",
        "style: anime, view: front, light: soft",
        "a cat\nscene: kitchen, time: night, mood: calm",
        "ratio: 16:9, 3: 2: 1",
        "a cat, Steps: 3",
        "Sampler: a box of chocolates",
        "Steps: up the hill, Size: huge, Seed: a sunflower",
        "a sign that says Size: XXL",
        "",
    ],
)
def test_a_prompt_with_colons_is_a_prompt(text: str) -> None:
    assert parse_text(text) == ParametersText(prompt=text, negative_prompt="", fields={})


@pytest.mark.parametrize(
    "line",
    [
        SETTINGS,
        "Seed: 5, Size: 512x512",
        "CFG scale: 7.5, Model: x, Version: 1",
        "Sampler: Euler a, Model: x",
        "Model: x, Steps: 20",
        "Steps: 20",
        "Seed: -1",
        "  Steps: 20, Tiling, Seed: 5, FreeU",
    ],
)
@pytest.mark.parametrize("after", ["", "\nTemplate: a __color__ cat", "\n\nmade on a Monday"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_settings_are_found_by_their_names(line: str, after: str, end: str) -> None:
    text = f"style: anime, view: front\nNegative prompt: x: y, z: w\n{line}{after}"
    parsed = parse_text(text.replace("\n", end))
    assert (parsed.prompt, parsed.negative_prompt) == ("style: anime, view: front", "x: y, z: w")
    assert parsed.fields
    assert parsed.other == after.strip()
    assert not parsed.is_unsure


@pytest.mark.parametrize(
    "text",
    [
        f"a cat\n{SETTINGS}\nmore\n{SETTINGS}",
        f"a cat\nNegative prompt: x\nSteps: 3, Seed: 4\n{SETTINGS}",
        f"a cat, Steps: 20, Sampler: Euler, CFG scale: 7\n{SETTINGS}",
        f"a cat Negative prompt: bad {SETTINGS}",
        f"Negative prompt: bad, {SETTINGS}",
        f"style: anime, {SETTINGS}",
    ],
)
def test_settings_inside_a_prompt_make_the_reading_unsure(text: str) -> None:
    assert parse_text(text).is_unsure
    assert "inside its prompt" in read_a1111(text).doubts[0]


def test_the_settings_that_begin_with_steps_win_over_pairs_in_other_text() -> None:
    parsed = parse_text(f"a cat\n{SETTINGS}\nSeed: 9, note: x")
    assert parsed.fields["Seed"] == "5"
    assert parsed.other == "Seed: 9, note: x"
    assert not parsed.is_unsure


def test_other_text_and_doubts_are_shown(run_cli, tmp_path: Path) -> None:
    text = f"a cat, Steps: 20, Sampler: Euler, Seed: 1\n{SETTINGS}\nTemplate: \x1b[31m x"
    path = str(png(tmp_path / "x.png", {"parameters": text}))
    document = run_cli("inspect", path, "--json").document["foreign"]
    assert document["left"]["other text"].startswith("Template:")
    [doubt] = document["doubts"]
    shown = run_cli("inspect", path).stdout
    assert doubt in " ".join(shown.split())
    assert "\x1b" not in shown
    ran = run_cli("inspect", path, "--as-command")
    assert (ran.code, ran.stderr.count(doubt)) == (0, 1)


@pytest.mark.parametrize(
    "text", ["Sampler:" * 20_000, "Steps: " * 20_000, "a: " * 20_000, '"' * 99_999, "a,\n" * 9_999]
)
def test_repetitive_texts_are_read_in_one_pass(text: str) -> None:
    """Text that makes a careless expression take minutes."""
    assert parse_text(text).prompt == text.strip()
    assert parse_text(f"Steps: 20, x: {text}").fields["Steps"] == "20"
