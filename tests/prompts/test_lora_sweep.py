"""LoRAs as an axis of a sweep: lists, ranges of weights, patterns, several for one image."""

from __future__ import annotations

from pathlib import Path

import pytest

from sdcli.errors import UsageError
from sdcli.prompts.field_values import flag_values
from sdcli.prompts.lora_sweep import combine_loras, lora_values, relative_to
from sdcli.prompts.sweep import values_from_data


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a.safetensors", ["a.safetensors"]),
        ("a:0.8", ["a:0.8"]),
        ("none,a:0.5", ["none", "a:0.5"]),
        (
            "a.safetensors:0..1:0.25",
            [f"a.safetensors:{w}" for w in ("0", "0.25", "0.5", "0.75", "1")],
        ),
        ("a:1..0:0.5", ["a:1", "a:0.5", "a:0"]),
        ("a:-1..1", ["a:-1", "a:0", "a:1"]),
        ("a:0.8;b:0.5", ["a:0.8;b:0.5"]),
        ("a:0..1;b", ["a:0;b", "a:1;b"]),
        ("embedded:flag:0.5..1:0.5", ["embedded:flag:0.5", "embedded:flag:1"]),
        ("a:0.8:0.2", ["a:0.8:0.2"]),
    ],
)
def test_values(text: str, values: list[str]) -> None:
    assert lora_values(text) == values
    assert list(values_from_data("lora", text)) == values


@pytest.mark.parametrize("text", ["", "a,,b", ",", "a:0..1:0", "a:0..1:-1", "a:0..99:0.00001", "*"])
def test_what_is_no_value_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        lora_values(text)


def test_a_list_is_a_sweep_in_data() -> None:
    assert values_from_data("lora", ["none", "a:0..1"]) == ["none", "a:0", "a:1"]


def test_repeated_options_are_for_the_same_image() -> None:
    assert combine_loras(["a:0.5", "b"]) == ["a:0.5;b"]
    assert combine_loras(["none,a", "b:0..1"]) == ["none;b:0", "none;b:1", "a;b:0", "a;b:1"]
    assert flag_values({"lora": ["a", "b"]}) == {"lora": ["a;b"]}
    assert flag_values({"lora": []}) == {}


def test_a_pattern_stands_for_its_files(tmp_path: Path) -> None:
    for number in (1, 2, 10):
        (tmp_path / f"e-{number}.safetensors").touch()
    files = [str(tmp_path / f"e-{number}.safetensors") for number in (1, 2, 10)]
    assert combine_loras([f"{tmp_path}/*.safetensors"]) == files
    assert combine_loras([f"{tmp_path}/*.safetensors:0.5"]) == [f"{f}:0.5" for f in files]
    swept = combine_loras([f"{tmp_path}/e-1*.safetensors:0..1"])
    assert swept == [f"{f}:{w}" for f in (files[0], files[2]) for w in (0, 1)]
    with pytest.raises(UsageError, match="matches no file"):
        combine_loras([f"{tmp_path}/x*"])


def test_names_in_a_prompt_file_are_beside_it(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").touch()
    written = relative_to(tmp_path, "a.safetensors:0.5;b;embedded:flag")
    assert written == f"{tmp_path}/a.safetensors:0.5;b:1;embedded:flag:1"
    assert relative_to(tmp_path, "none") == "none"
