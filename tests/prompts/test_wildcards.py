"""Test how wildcards are filled."""

from __future__ import annotations

import itertools
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdcli.errors import UsageError
from sdcli.prompts.wildcard_syntax import has_wildcards
from sdcli.prompts.wildcards import Wildcards
from sdcli.request import GenerationRequest


def fill(prompt, seed=3, count=2, **options):
    request = GenerationRequest(prompt=prompt, seed=seed, count=count)
    return [(r.prompt, r.seed, r.count) for r in Wildcards(**options).expand(request)]


@pytest.fixture
def lists(tmp_path):
    (tmp_path / "color.txt").write_text("red\n# no\nblue\n")
    (tmp_path / "deep.txt").write_text("__color__ {x|y}\n")
    (tmp_path / "bad.txt").write_text("__missing__\n")
    (tmp_path / "circle.txt").write_text("__circle__\n")
    return tmp_path


@pytest.mark.parametrize(
    ("template", "prompts"),
    [
        ("a {red|blue} cat", ["a red cat", "a blue cat"]),
        ("{2$$ and $$a|b}", ["a and b", "b and a"]),
        ("__color__", ["blue", "red"]),
        ("__deep__", ["blue x", "blue y", "red x", "red y"]),
        ("(cat:1.3) [a|b] a_b", ["(cat:1.3) [a|b] a_b"]),
        ("a C# {x|y} # 1", ["a C# x # 1", "a C# y # 1"]),
    ],
)
def test_a_seed_picks_one_of_all_combinations(lists, template, prompts):
    combinations = fill(template, mode="all", folder=lists)
    assert sorted(prompt for prompt, *_ in combinations) == sorted(prompts)
    assert {(seed, count) for _, seed, count in combinations} == {(3, 2)}
    picked = fill(template, folder=lists)
    assert {prompt for prompt, *_ in picked} <= set(prompts)
    assert picked == fill(template, folder=lists)


templates = st.lists(
    st.lists(st.sampled_from("abcdef"), min_size=1, max_size=4, unique=True), min_size=1, max_size=3
).map(lambda variants: " ".join("{" + "|".join(values) + "}" for values in variants))


@given(templates, st.integers(0, 2**40), st.integers(1, 4))
@settings(max_examples=50)
def test_each_image_has_the_prompt_of_its_own_seed(template, seed, count):
    images = fill(template, seed, count)
    assert [(image_seed, image_count) for _, image_seed, image_count in images] == [
        (seed + i, 1) for i in range(count)
    ]
    assert images == [fill(template, seed + i, 1)[0] for i in range(count)]
    combinations = {prompt for prompt, *_ in fill(template, mode="all")}
    assert {prompt for prompt, *_ in images} <= combinations


def test_seeds_pick_different_prompts():
    assert len({fill("{a|b|c|d|e|f|g|h}", seed, 1)[0][0] for seed in range(20)}) > 3


@given(st.text(), st.sampled_from(["random", "all"]))
def test_a_prompt_without_wildcards_is_unchanged(prompt, mode):
    try:
        request = GenerationRequest(prompt=prompt, seed=1, count=3)
    except UsageError:
        return  # lone surrogates
    if not has_wildcards(prompt):
        assert list(Wildcards(mode=mode).expand(request)) == [request]


@pytest.mark.parametrize("folder", [True, False])
def test_text_around_wildcards_is_kept(lists, folder):
    template = "50 # (a:1.1), [b] \\ {x} _c_ d"
    assert fill(template, 1, 1, folder=lists if folder else None)[0][0] == template.replace(
        "{x}", "x"
    )


def test_the_first_combination_does_not_wait_for_the_last():
    requests = Wildcards(mode="all").expand(GenerationRequest(prompt="{a|b}" * 16))
    assert next(requests).prompt == "a" * 16


def test_a_request_without_a_seed_is_filled_once_it_has_one():
    wildcards, request = Wildcards(), GenerationRequest(prompt="{a|b}")
    assert list(wildcards.expand(request)) == [request]
    assert wildcards.needs_seed(request)
    [filled] = wildcards.expand(replace(request, seed=5))
    assert (filled.prompt in "ab", filled.seed) == (True, 5)
    assert not wildcards.needs_seed(filled)
    assert not Wildcards(mode="all").needs_seed(request)


@pytest.mark.parametrize("mode", ["random", "all"])
@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("__colour__", "unknown wildcard __colour__"),
        ("__bad__", "unknown wildcard __missing__"),
        ("{a|b", r"wildcards in '\{a\|b': syntax error at "),
        ("${x}", "has no value"),
        ("__circle__", "__circle__ refers to itself"),
        ("__../x__", "unknown wildcard __../x__"),
    ],
)
def test_invalid_wildcards_raise_usage_errors(lists, mode, template, message, caplog, capfd):
    with pytest.raises(UsageError, match=message):
        fill(template, mode=mode, folder=lists)
    # The library logs what it finds wrong, too.
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")


def test_hints_for_unknown_lists(lists, tmp_path_factory):
    empty = tmp_path_factory.mktemp("empty")
    for name, folder, hint in (
        ("colr", lists, "did you mean color?"),
        ("xyz", lists, f"{lists} has these lists: bad, circle, color, deep"),
        ("xyz", empty, f"{empty} has these lists: none"),
        ("xyz", None, "set the folder of wildcard lists: --wildcards DIR"),
    ):
        with pytest.raises(UsageError) as caught:
            fill(f"__{name}__", folder=folder)
        assert caught.value.hint == hint


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(UsageError, match=r"--wildcards: folder .*nowhere' not found"):
        Wildcards(folder=tmp_path / "nowhere")


@given(st.text(st.sampled_from("ab{}|$_#%:,. 12\\()"), max_size=12), st.booleans())
def test_any_template_is_filled_or_raises_a_usage_error(template, is_random):
    wildcards = Wildcards(mode="random" if is_random else "all")
    with suppress(UsageError):
        requests = wildcards.expand(GenerationRequest(prompt=template, seed=1))
        list(itertools.islice(requests, 3))


def negatives(mode, prompt, negative, count=2):
    request = GenerationRequest(prompt=prompt, negative_prompt=negative, seed=3, count=count)
    return [(r.prompt, r.negative_prompt, r.seed) for r in Wildcards(mode=mode).expand(request)]


def test_all_pairs_of_prompt_and_negative_prompt_are_made():
    pairs = negatives("all", "{a|b}", "{c|d} 50%")
    assert sorted(pairs) == [(p, f"{n} 50%", 3) for p in "ab" for n in "cd"]
    assert negatives("all", "a", "{c|d}") == [("a", "c", 3), ("a", "d", 3)]


def test_a_seed_picks_the_negative_prompt_too():
    pairs = negatives("random", "a", "{c|d|e|f|g|h}", count=20)
    assert len({negative for _, negative, _ in pairs}) > 3
    assert [seed for *_, seed in pairs] == list(range(3, 23))
    # The prompt's choice does not depend on the negative prompt.
    filled = [prompt for prompt, *_ in negatives("random", "{a|b|c}", "{c|d}", count=9)]
    assert filled == [prompt for prompt, *_ in fill("{a|b|c}", 3, 9)]


def test_a_negative_prompt_with_wildcards_waits_for_the_seed():
    request = GenerationRequest(prompt="a", negative_prompt="{a|b}")
    assert Wildcards().needs_seed(request)
    assert list(Wildcards().expand(request)) == [request]
