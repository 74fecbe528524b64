"""Which setting wins, what a sweep makes of one prompt, and what wildcards make of it."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdcli.errors import UsageError
from sdcli.prompts import sweep
from sdcli.prompts.expansion import EntryExpander, RequestTemplate
from sdcli.prompts.field_values import flag_values
from sdcli.prompts.fields import canonical_field
from sdcli.prompts.sweep import PromptReplacement
from sdcli.prompts.wildcard_count import check_combinations
from sdcli.prompts.wildcards import Wildcards
from sdcli.request import GenerationRequest
from tests.prompts.test_readers import lines_of, read

LEVELS = ("line", "flags", "defaults")


@pytest.mark.parametrize("said", [s for n in range(4) for s in itertools.combinations(LEVELS, n)])
@pytest.mark.parametrize("name", ["jsonl", "csv", "txt"])
def test_the_line_wins_over_flags_and_they_over_the_files_defaults(name, said):
    steps = {"line": 1, "flags": 2, "defaults": 3}
    asked = RequestTemplate(flags=flag_values({"steps": "2"} if "flags" in said else {}))
    line = steps["line"] if "line" in said else ""
    default = steps["defaults"] if "defaults" in said else ""
    text = {
        "csv": f"prompt,steps,seed\n,{default},5\na,{line},\n",
        "txt": f"--seed 5 {f'--steps {default}' if default else ''}\n"
        f"a {f'--steps {line}' if line else ''}\n",
        "jsonl": f'{{"seed": 5, "steps": {default or "null"}}}\n'
        f'{{"prompt": "a", "steps": {line or "null"}}}\n',
    }[name]
    [request], errors = read(name, text, asked)
    assert errors == []
    winner = next((steps[level] for level in LEVELS if level in said), None)
    assert (request.num_inference_steps, request.seed) == (winner, 5)


def test_half_a_size_overrules_half_a_size():
    asked = RequestTemplate(flags=flag_values({"size": "64x72"}))
    [request], _ = read("jsonl", '{"prompt": "a", "width": 96}', asked)
    assert (request.width, request.height) == (96, 72)
    [request], _ = read("jsonl", '{"width": 8, "height": 16}\n"a"', asked)
    assert (request.width, request.height) == (64, 72)


def test_a_width_beside_a_sweep_of_sizes_is_refused():
    asked = RequestTemplate(flags=flag_values({"size": "64x64,72x72"}))
    _, [error] = read("jsonl", '{"prompt": "a", "width": 96}', asked)
    assert error.startswith("f.jsonl:1:17: a width of its own")
    [request], _ = read("jsonl", '{"prompt": "a", "size": "96x96"}', asked)
    assert (request.width, request.height) == (96, 96)
    assert len(read("jsonl", '{"width": 8}\n{"prompt": "a"}', asked)[0]) == 2


@pytest.mark.parametrize(
    "fields", ['"size": "8x8", "width": 8', '"steps": 3, "num_inference_steps": 3']
)
def test_a_setting_said_twice_is_refused(fields):
    assert read("jsonl", f'{{"prompt": "a", {fields}}}')[1]


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
def test_lists_and_ranges_that_cannot_be(name, text):
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
def test_quotes_around_what_is_no_text_are_forgiven(name, value, values):
    assert list(sweep.values_from_data(name, value)) == values


@pytest.mark.parametrize(
    ("name", "value", "told"),
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
def test_values_that_cannot_be_say_why(name, value, told):
    with pytest.raises(UsageError, match=told):
        GenerationRequest.from_dict({"prompt": "", name: sweep.values_from_data(name, value)[0]})


def test_a_seed_of_minus_one_is_drawn_whatever_the_command_line_says():
    asked = RequestTemplate(flags=flag_values({"seed": "5"}))
    [one, other], errors = read("txt", "a --seed -1\nb\n", asked)
    assert errors == []
    assert (one.seed, other.seed) == (None, 5)
    [one], _ = read("txt", "--seed 7\na\n", RequestTemplate(flags=flag_values({"seed": "-1"})))
    assert one.seed is None


@pytest.mark.parametrize(
    ("name", "told", "hint"),
    [
        ("out", "can't be set per row", "--out"),
        ("save_latents", "can't be set per row", "--save-latents"),
        ("wildcard-mode", "can't be set per row", "--wildcard-mode"),
        ("batch_size", "can't be set per row", "--count"),
        ("Restore_Faces", "is an A1111 setting", "leave it out"),
        ("cn", "is a kohya setting", "ControlNet"),
        ("stpes", "unknown field 'stpes'", "did you mean steps?"),
        ("qqq", "unknown field 'qqq'", "sdcli batch -h"),
    ],
)
def test_names_that_stand_elsewhere_are_told_from_unknown_ones(name, told, hint):
    with pytest.raises(UsageError, match=told) as caught:
        canonical_field(name)
    assert hint in caught.value.hint
    assert len(caught.value.hint) < 80


axes = st.dictionaries(
    st.sampled_from(sorted(sweep.SWEPT)),
    st.lists(st.integers(), min_size=1, max_size=3, unique=True),
)


@given(axes)
def test_a_sweep_is_the_product_slowest_axis_first(axes):
    made = list(sweep.combinations(axes))
    names = sorted(axes, key=sweep.SWEPT.__getitem__)
    every = itertools.product(*(axes[name] for name in names))
    assert [tuple(one[name] for name in names) for one in made] == list(every)
    assert len(made) == sweep.count_combinations(axes)


def test_a_sweep_is_lazy():
    asked = RequestTemplate(
        flags=flag_values({"seed": "1..1000000", "steps": "1..1000", "guidance": "2..9"})
    )
    first = list(itertools.islice(asked.expand({"prompt": ("a",)}), 2))
    assert [request.seed for request in first] == [1, 2]
    assert asked.count_images({"prompt": ("a",)}) == 8 * 10**9


def test_flags_that_cannot_be_are_refused_at_once():
    with pytest.raises(UsageError, match="--steps"):
        RequestTemplate(flags=flag_values({"steps": "10,0"}))


def test_search_and_replace_makes_a_prompt_of_each_word():
    asked = RequestTemplate(
        replacements=[PromptReplacement.parse("cat=dog, fox"), PromptReplacement.parse("red=blue")]
    )
    made = asked.expand({"prompt": ("a red cat",), "seed": (1, 2)})
    assert [(r.prompt, r.seed) for r in made] == [
        ("a blue dog", 1),
        ("a blue dog", 2),
        ("a blue fox", 1),
        ("a blue fox", 2),
    ]
    assert [r.prompt for r in asked.expand({"prompt": ("a fish",)})] == ["a fish"]


@pytest.mark.parametrize("text", ["cat", "cat=", "=dog", "cat=dog,,fox"])
def test_a_replacement_that_replaces_nothing_is_refused(text):
    with pytest.raises(UsageError, match="OLD=NEW"):
        PromptReplacement.parse(text)


def filled(prompt, **how):
    wildcards = Wildcards(**how)
    request = GenerationRequest(prompt=prompt, seed=3, count=2)
    return [(r.prompt, r.seed, r.count) for r in wildcards.requests(request)]


@pytest.fixture
def lists(tmp_path):
    (tmp_path / "color.txt").write_text("red\n# no\nblue\n")
    (tmp_path / "deep.txt").write_text("__color__ {x|y}\n")
    (tmp_path / "bad.txt").write_text("__missing__\n")
    (tmp_path / "circle.txt").write_text("__circle__\n")
    return tmp_path


@pytest.mark.parametrize(
    ("template", "every"),
    [
        ("a {red|blue} cat", ["a red cat", "a blue cat"]),
        ("{2$$ and $$a|b}", ["a and b", "b and a"]),
        ("__color__", ["blue", "red"]),
        ("__deep__", ["blue x", "blue y", "red x", "red y"]),
        ("(cat:1.3) [a|b] a_b", ["(cat:1.3) [a|b] a_b"]),
        ("a C# {x|y} # 1", ["a C# x # 1", "a C# y # 1"]),
    ],
)
def test_wildcards_in_every_way_and_by_the_seed(lists, template, every):
    made = filled(template, mode="all", folder=lists)
    assert sorted(prompt for prompt, *_ in made) == sorted(every)
    assert {(seed, count) for _, seed, count in made} == {(3, 2)}
    some = filled(template, folder=lists)
    assert {prompt for prompt, *_ in some} <= set(every)
    assert some == filled(template, folder=lists)


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
    ],
)
def test_the_ways_to_fill_a_template_are_counted_before(lists, template, count):
    assert len(filled(template, mode="all", folder=lists)) == count
    values = {"color": ["red", "blue"], "deep": ["__color__ {x|y}"]}
    check_combinations(template, values.__getitem__)
    with pytest.raises(UsageError, match="more than"):
        check_combinations(template + "{a|b}" * 17, values.__getitem__)


@pytest.mark.parametrize("template", ["{a|b}" * 24, "{9-$$" + "|".join(map(str, range(999))) + "}"])
def test_more_ways_than_anyone_draws_are_refused_at_once(template):
    with pytest.raises(UsageError, match="more than 100,000 ways") as caught:
        filled(template, mode="all")
    assert "--wildcard-mode random" in caught.value.hint


def test_the_first_of_many_ways_does_not_wait_for_the_last():
    requests = Wildcards(mode="all").requests(GenerationRequest(prompt="{a|b}" * 16))
    assert next(requests).prompt == "a" * 16


def test_an_image_of_a_count_has_the_prompt_that_it_has_alone(lists):
    template = "{a|b|c|d|e|f|g|h}"
    both = filled(template)
    request = GenerationRequest(prompt=template, seed=4)
    [alone] = Wildcards().requests(request)
    assert both[1] == (alone.prompt, 4, 1)
    requests = [GenerationRequest(prompt=template, seed=seed) for seed in range(20)]
    assert len({made.prompt for asked in requests for made in Wildcards().requests(asked)}) > 3


def test_a_prompt_waits_for_the_seed_that_decides_it():
    wildcards, asked = Wildcards(), GenerationRequest(prompt="{a|b}")
    assert list(wildcards.requests(asked)) == [asked]
    assert wildcards.is_open(asked)
    [filled] = wildcards.requests(replace(asked, seed=5))
    assert (filled.prompt in "ab", filled.seed) == (True, 5)
    assert not wildcards.is_open(filled)


@pytest.mark.parametrize("mode", ["random", "all"])
@pytest.mark.parametrize(
    "template", ["__colour__", "__bad__", "{a|b", "${x}", "__circle__", "__../x__"]
)
def test_wildcards_that_cannot_be_filled(lists, mode, template):
    with pytest.raises(UsageError):
        filled(template, mode=mode, folder=lists)


@given(st.text(st.sampled_from("ab{}|$_#%:,. 12\\()"), max_size=12), st.booleans())
def test_no_template_makes_a_traceback(template, every):
    try:
        requests = Wildcards(mode="all" if every else "random").requests(
            GenerationRequest(prompt=template, seed=1)
        )
        list(itertools.islice(requests, 3))
    except UsageError:
        pass


def test_braces_stay_braces_unless_asked():
    expander = EntryExpander(RequestTemplate())
    from sdcli.prompts.formats import get_reader

    [entry] = [e for e in get_reader("txt")(lines_of("a {red|blue} __cat__"), "f.txt") if e]
    assert [r.prompt for r in expander.expand(entry)] == ["a {red|blue} __cat__"]
