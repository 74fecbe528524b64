"""Test that the prompts of a template are counted without making them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdcli.errors import UsageError
from sdcli.prompts.wildcard_count import check_combinations, count_prompts
from sdcli.prompts.wildcards import Wildcards
from sdcli.request import GenerationRequest

# The library calls pyparsing by its old names.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:dynamicprompts")

LISTS = {"color": ["red", "blue"], "deep": ["__color__ {x|y}"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lists")
    for name, lines in LISTS.items():
        (folder / f"{name}.txt").write_text("\n".join(lines))
    return folder


def combinations(template, folder):
    return list(Wildcards(mode="all", folder=folder).expand(GenerationRequest(prompt=template)))


@pytest.mark.parametrize(
    ("template", "count"),
    [
        ("{a|b} {c|d|e}", 6),
        ("{2$$ and $$a|b|c}", 6),
        ("{0-2$$a|b|c}", 10),
        ("{3$$a|{b|c}|d}", 12),
        ("{1-2$$__color__}", 4),
        ("{2$$__color__|{x|y}}", 8),
        ("__deep__ {a|__deep__}", 20),
        ("${x={a|b}} ${x} ${x}", 4),
        ("{~a|b} {c|d}", 2),
        ("a cat", 1),
    ],
)
def test_the_count_of_each_kind_of_wildcard(folder, template, count):
    assert count_prompts(template, LISTS.__getitem__) == count
    assert len(combinations(template, folder)) == count
    with pytest.raises(UsageError, match="more than"):
        check_combinations([template + "{a|b}" * 17], LISTS.__getitem__)


def selection(values):
    """{a|b}, or a selection of some of the values as in {1-2$$a|b|c}."""
    bounds = st.tuples(st.integers(0, 3), st.integers(0, 3)).map(sorted)
    prefixes = st.one_of(st.just(""), bounds.map(lambda pair: f"{pair[0]}-{pair[1]}$$"))
    return st.builds(lambda prefix, parts: f"{{{prefix}{'|'.join(parts)}}}", prefixes, values)


words = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=4, unique=True)


@given(st.lists(selection(words), min_size=1, max_size=2).map(" ".join))
@settings(max_examples=40)
def test_the_count_is_the_number_of_combinations_of_different_values(template):
    assert count_prompts(template, LISTS.__getitem__) == len(combinations(template, None))


nested = st.recursive(
    st.sampled_from(["a", "b c", "__color__", "__deep__"]),
    lambda parts: selection(st.lists(parts, min_size=1, max_size=3)),
    max_leaves=5,
)


@given(nested)
@settings(max_examples=40)
def test_the_count_is_never_below_the_number_of_combinations(folder, template):
    """It is above where values are equal, which the library selects only once."""
    count = count_prompts(template, LISTS.__getitem__)
    if count <= 500:
        assert len(combinations(template, folder)) <= count


@pytest.mark.parametrize("template", ["{a|b}" * 24, "{9-$$" + "|".join(map(str, range(999))) + "}"])
def test_too_many_combinations_are_rejected_without_making_them(template):
    with pytest.raises(UsageError, match="more than 100,000 combinations") as caught:
        combinations(template, None)
    assert "--wildcard-mode random" in caught.value.hint


def test_the_combinations_of_both_prompts_are_multiplied(folder):
    half = "{a|b}" * 9
    check_combinations([half], LISTS.__getitem__)
    with pytest.raises(UsageError, match="more than 100,000 combinations"):
        check_combinations([half, half], LISTS.__getitem__)
