"""Test the reader of YAML documents."""

from __future__ import annotations

import pytest

from tests.prompts.prompt_files import assert_errors, read_text


@pytest.mark.parametrize(
    ("text", "errors"),
    [
        ("- a\n- prompt: b\n  steps: many\n", ["f.yaml:3:3: num"]),
        ("- prompt: [\n", ["f.yaml:3:1: invalid YAML"]),
        ("- prompt: 12\n", ["f.yaml:1:3: prompt: 12 is not text"]),
        ("- &a [*a]\n", ["f.yaml:1:3: not a request"]),
        ("- a\n- <<: 3\n", ["f.yaml:2:7: << must refer"]),
        ("- &a {<<: *a, prompt: b, eta: 2}\n", ["f.yaml:1:26: eta"]),
        ("- prompt: a\n  b\0\n", ["f.yaml:2:4: NUL character"]),
        ("- !!python/name:os.system x\n", ["f.yaml:1:3: unsupported tag"]),
        ("a: " + "[" * 50_000, ["f.yaml:1:1: invalid YAML: nested too deeply"]),
    ],
)
def test_errors_have_locations(text, errors):
    assert_errors("yaml", text, errors)


def test_merges_and_anchors():
    text = """
x-base: &base {steps: 8, seed: 1, size: [64, 72]}
x-more: &more {<<: *base, seed: 2, eta: 0.5}
defaults: {<<: *base, guidance: 3}
requests:
  - {<<: [*more, *base], prompt: a, steps: 9}
  - prompt: b
"""
    [one, other], errors = read_text("yaml", text)
    assert errors == []
    assert (one.num_inference_steps, one.seed, one.eta, one.height) == (9, 2, 0.5, 72)
    assert (other.num_inference_steps, other.seed, other.guidance_scale) == (8, 1, 3.0)


def test_an_error_in_a_merged_field_has_the_location_of_the_field():
    text = "x-a: &a {eta: 2}\nrequests: [{<<: *a, prompt: b}, {<<: *a, prompt: c}]\n"
    assert {error.split(" (")[0].split(": ")[0] for error in read_text("yaml", text)[1]} == {
        "f.yaml:1:10"
    }


@pytest.mark.parametrize("word", ["yes", "no", "On", "nULL", "tRUE", "0x1F", "1_000", "12:30"])
def test_words_that_yaml_1_2_does_not_know_are_text(word):
    [request], errors = read_text("yaml", f"prompt: {word}\n")
    assert (request.prompt, errors) == (word, [])


@pytest.mark.parametrize("word", ["true", "True", "TRUE"])
def test_the_constants_of_yaml_1_2_have_three_spellings(word):
    [request], _ = read_text("yaml", f"prompt: a\noffline: {word}\nseed: ~\n")
    assert (request.spec.offline, request.seed) == (True, None)


def test_every_document_of_a_file_is_read():
    requests, errors = read_text("yaml", "prompt: a\n---\n- b\n- prompt: c\n")
    assert errors == []
    assert [request.prompt for request in requests] == ["a", "b", "c"]


@pytest.mark.parametrize("key", ["[a, b]", "{a: b}"])
def test_keys_are_text(key):
    assert_errors("yaml", f"? {key}\n: 1\n", ["f.yaml:1:3: field names must be text"])
