"""Test that dgenerate's configs are read as options, and never run."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sdcli.interop.dgenerate import find_config, read_dgenerate

CONFIG = """#! dgenerate 4.5
# a comment
\\set x 3
stabilityai/sd-1 --prompts "a cat; a dog" --seeds 5 6 \\
  --inference-steps 20 --guidance-scales 7.5 \\
  --output-size 512x640 --clip-skips 1 --scheduler Euler --tome 0.5
"""


def test_options_become_fields() -> None:
    record = read_dgenerate(CONFIG)
    assert record.generator == "dgenerate"
    assert dict(record.fields) == {
        "model": "stabilityai/sd-1",
        "prompt": "a cat",
        "negative_prompt": "a dog",
        "seed": "5",
        "num_inference_steps": "20",
        "guidance_scale": "7.5",
        "clip_skip": "1",
        "scheduler": "Euler",
        "width": "512",
        "height": "640",
    }
    assert dict(record.extra) == {"tome": "0.5"}


def test_one_number_is_both_sides() -> None:
    fields = read_dgenerate("sd --output-size 512").fields
    assert (fields["width"], fields["height"]) == ("512", "512")


def test_negative_numbers_are_values() -> None:
    assert read_dgenerate("sd --seeds -5").fields["seed"] == "-5"


def test_a_config_begins_with_its_first_line() -> None:
    assert find_config(CONFIG) == CONFIG
    for text in ("", "a cat", "#! /bin/sh\ndgenerate", "dgenerate"):
        assert find_config(text) is None


@given(st.text())
def test_no_config_raises(text: str) -> None:
    assert read_dgenerate(text).generator == "dgenerate"
