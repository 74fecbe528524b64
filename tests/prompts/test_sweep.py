"""Test sweeps: lists, ranges, their product, and replacements in prompts."""

from __future__ import annotations

import itertools
from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdcli.errors import UsageError
from sdcli.prompts import sweep
from sdcli.prompts.sweep import PromptReplacement
from sdcli.request import GenerationRequest


@pytest.mark.parametrize(
    ("name", "text", "values"),
    [
        ("num_inference_steps", "10,20", [10, 20]),
        ("num_inference_steps", "7", [7]),
        ("guidance_scale", "5..9:2", [5.0, 7.0, 9.0]),
        ("guidance_scale", "0.1..0.3:0.1", [0.1, 0.2, 0.3]),
        ("seed", "1..4", [1, 2, 3, 4]),
        ("seed", "4..1:2", [4, 2]),
        ("seed", "1..2,7", [1, 2, 7]),
        ("seed", "-1, 5", [None, 5]),
        ("num_inference_steps", "8.0", [8]),
        ("scheduler", "ddim, euler", ["ddim", "euler"]),
        ("size", "64x64,72x64", [(64, 64), (72, 64)]),
        ("prompt", "a, b", ["a, b"]),
    ],
)
def test_lists_and_ranges(name, text, values):
    assert list(sweep.parse_values(name, text)) == values


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("seed", "1,,2"),
        ("seed", "1..9:0"),
        ("seed", "1..99999999999"),
        ("seed", "1.5..3"),
        ("seed", "１"),
        ("guidance_scale", "1..x"),
        ("guidance_scale", "0..1:0.0000001"),
        ("guidance_scale", "0..1e999"),
        ("size", "64"),
        ("offline", "maybe"),
    ],
)
def test_invalid_lists_and_ranges_raise(name, text):
    with pytest.raises(UsageError, match=r"[sg]|offline"):
        sweep.parse_values(name, text)


@pytest.mark.parametrize(
    ("name", "value", "values"),
    [
        ("seed", "1..4", [1, 2, 3, 4]),
        ("seed", ["1..2", 7, -1], [1, 2, 7, None]),
        ("num_inference_steps", "10,20", [10, 20]),
        ("num_inference_steps", 8.0, [8]),
        ("guidance_scale", "7.5", [7.5]),
        ("offline", "yes", [True]),
        ("count", "2", [2]),
        ("size", [128, 64], [(128, 64)]),
        ("size", ["128x64", [64, 64]], [(128, 64), (64, 64)]),
        ("scheduler", "DPM++ 2M;solver_order=3", ["DPM++ 2M;solver_order=3"]),
        ("prompt", "a, b", ["a, b"]),
    ],
)
def test_numbers_in_quotes_are_read_as_numbers(name, value, values):
    assert list(sweep.values_from_data(name, value)) == values


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("seed", "99999999999999999999999", "is too large"),
        ("seed", 10**30, "is too large"),
        ("num_inference_steps", 8.5, "is not a whole number"),
        ("guidance_scale", "1e999", "is too large"),
        ("guidance_scale", "5..9:-2", "has a step that is not above 0"),
        ("seed", "5..9:-2", "has a step that is not above 0"),
        ("size", [128], "is not WIDTHxHEIGHT"),
        ("size", [128, 64, 3], "is not WIDTHxHEIGHT"),
    ],
)
def test_invalid_values_name_the_reason(name, value, reason):
    with pytest.raises(UsageError, match=reason):
        GenerationRequest.from_dict({"prompt": "", name: sweep.values_from_data(name, value)[0]})


axes = st.dictionaries(
    st.sampled_from(sorted(sweep.SWEPT)),
    st.lists(st.integers(), min_size=1, max_size=3, unique=True),
    max_size=6,
)


@given(axes)
def test_a_sweep_is_the_product_of_its_axes_slowest_first(axes):
    results = list(sweep.combinations(axes))
    names = sorted(axes, key=sweep.SWEPT.__getitem__)
    every = itertools.product(*(axes[name] for name in names))
    assert [tuple(result[name] for name in names) for result in results] == list(every)
    assert len(results) == sweep.count_combinations(axes)


@pytest.mark.parametrize("text", ["cat", "cat=", "=dog", "cat=dog,,fox"])
def test_a_replacement_needs_a_word_and_its_replacements(text):
    with pytest.raises(UsageError, match="OLD=NEW"):
        PromptReplacement.parse(text)


whole = st.integers(0, 10**6 - 1)


@given(whole, whole, st.integers(1, 10**6))
def test_a_whole_range_has_both_ends_and_runs_either_way(first, last, step):
    values = list(sweep.parse_values("seed", f"{first}..{last}:{step}"))
    assert values[0] == first
    assert abs(last - values[-1]) < step
    assert {abs(b - a) for a, b in itertools.pairwise(values)} <= {step}
    assert min(first, last) <= min(values) <= max(values) <= max(first, last)
    if (last - first) % step == 0:
        assert values[::-1] == list(sweep.parse_values("seed", f"{last}..{first}:{step}"))


tenths = st.integers(0, 300).map(lambda n: Decimal(n) / 10)


@given(tenths, tenths, st.sampled_from(["0.1", "0.25", "1", "7"]))
def test_a_fractional_range_has_the_values_as_they_are_written(first, last, step):
    values = sweep.parse_values("guidance_scale", f"{first}..{last}:{step}")
    direction = 1 if last >= first else -1
    assert list(values) == [
        float(first + direction * i * Decimal(step)) for i in range(len(values))
    ]
    assert abs(float(last) - values[-1]) < float(step)


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=5))
def test_a_list_as_text_equals_the_list_as_data(values):
    text = ",".join(map(str, values))
    assert list(sweep.parse_values("num_inference_steps", text)) == values
    assert list(sweep.values_from_data("num_inference_steps", values)) == values


@given(st.sampled_from(sorted(sweep.SWEPT)), st.text("0123456789.,-+:ex ", max_size=12))
def test_any_text_is_parsed_or_raises_a_usage_error(name, text):
    with suppress(UsageError):
        assert len(sweep.parse_values(name, text)) >= 1


@given(st.text("abc ", max_size=10), st.lists(st.text("xyz", min_size=1), min_size=1, max_size=3))
def test_a_replacement_makes_one_prompt_per_word(prompt, words):
    replacement = PromptReplacement.parse(f"b={','.join(words)}")
    prompts = replacement.apply(prompt)
    assert list(prompts) == ([prompt.replace("b", w) for w in words] if "b" in prompt else [prompt])
