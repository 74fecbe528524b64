"""Test the expansion of entries: precedence, defaults, sweeps, and errors with locations."""

from __future__ import annotations

import itertools

import pytest

from sdcli.errors import ModelError, UsageError, UsageErrors
from sdcli.prompts.entry import PromptEntry, SourceLocation
from sdcli.prompts.entry_expander import EntryExpander
from sdcli.prompts.expansion import RequestTemplate
from sdcli.prompts.field_values import flag_values
from sdcli.prompts.sweep import PromptReplacement
from sdcli.prompts.wildcards import Wildcards
from tests.prompts.prompt_files import entries_of, lines_of, read_text

LEVELS = ("line", "flags", "defaults")


def template_of(**flags):
    return RequestTemplate(flags=flag_values(flags))


def entry_of(**fields):
    return PromptEntry(
        fields=fields,
        location=SourceLocation("f", 1),
        locate=lambda name: SourceLocation("f", 1, 2 + list(fields).index(name)),
    )


@pytest.mark.parametrize("levels", [s for n in range(4) for s in itertools.combinations(LEVELS, n)])
@pytest.mark.parametrize("name", ["jsonl", "csv", "txt"])
def test_a_line_overrides_flags_and_flags_override_the_defaults_of_a_file(name, levels):
    steps = {"line": 1, "flags": 2, "defaults": 3}
    template = template_of(steps="2") if "flags" in levels else template_of()
    line = steps["line"] if "line" in levels else ""
    default = steps["defaults"] if "defaults" in levels else ""
    text = {
        "csv": f"prompt,steps,seed\n,{default},5\na,{line},\n",
        "txt": f"--seed 5 {f'--steps {default}' if default else ''}\n"
        f"a {f'--steps {line}' if line else ''}\n",
        "jsonl": f'{{"seed": 5, "steps": {default or "null"}}}\n'
        f'{{"prompt": "a", "steps": {line or "null"}}}\n',
    }[name]
    [request], errors = read_text(name, text, template)
    assert errors == []
    expected = next((steps[level] for level in LEVELS if level in levels), None)
    assert (request.num_inference_steps, request.seed) == (expected, 5)


def test_half_a_size_overrides_half_a_size():
    template = template_of(size="64x72")
    [request], _ = read_text("jsonl", '{"prompt": "a", "width": 96}', template)
    assert (request.width, request.height) == (96, 72)
    [request], _ = read_text("jsonl", '{"width": 8, "height": 16}\n"a"', template)
    assert (request.width, request.height) == (64, 72)


def test_half_a_size_cannot_override_a_sweep_of_sizes():
    template = template_of(size="64x64,72x72")
    _, [error] = read_text("jsonl", '{"prompt": "a", "width": 96}', template)
    assert error == "f.jsonl:1:17: width can't be set alone while sizes are swept"
    [request], _ = read_text("jsonl", '{"prompt": "a", "size": "96x96"}', template)
    assert (request.width, request.height) == (96, 96)
    assert len(read_text("jsonl", '{"width": 8}\n{"prompt": "a"}', template)[0]) == 2


@pytest.mark.parametrize(
    "fields", ['"size": "8x8", "width": 8', '"steps": 3, "num_inference_steps": 3']
)
def test_a_setting_with_two_names_is_an_error(fields):
    assert read_text("jsonl", f'{{"prompt": "a", {fields}}}')[1]


def test_a_seed_of_minus_one_is_random_and_overrides_like_any_other():
    [one, other], errors = read_text("txt", "a --seed -1\nb\n", template_of(seed="5"))
    assert errors == []
    assert (one.seed, other.seed) == (None, 5)
    [one], _ = read_text("txt", "--seed 7\na\n", template_of(seed="-1"))
    assert one.seed is None


def test_a_sweep_is_lazy():
    template = template_of(seed="1..1000000", steps="1..1000", guidance="2..9")
    first = list(itertools.islice(template.expand({"prompt": ("a",)}), 2))
    assert [request.seed for request in first] == [1, 2]
    assert template.count_images({"prompt": ("a",)}) == 8 * 10**9


@pytest.mark.parametrize("fields", [{}, {"seed": (1, 2)}, {"seed": (1, 2, 3), "count": (4,)}])
@pytest.mark.parametrize("prompt", ["a red cat", "a fish", "a {b|c} cat"])
def test_the_count_is_that_of_the_expanded_requests(prompt, fields):
    line = {"prompt": (prompt,), **fields}
    replacements = [PromptReplacement.parse("cat=dog,fox"), PromptReplacement.parse("red=blue,tan")]
    for wildcards in (None, Wildcards(mode="all")):
        template = RequestTemplate(replacements=replacements, wildcards=wildcards)
        images = sum(request.count for request in template.expand(line))
        count = template.count_images(line)
        assert count == (None if wildcards and "{" in prompt else images)


def test_a_sample_has_the_first_and_the_last_seed():
    sample = RequestTemplate(sample=True, wildcards=Wildcards(mode="all"))
    requests = sample.expand({"prompt": ("{a|b}",), "seed": range(100)})
    assert [(request.prompt, request.seed) for request in requests] == [("a", 0), ("a", 99)]


def test_invalid_flags_and_settings_raise_immediately():
    with pytest.raises(UsageError, match="--steps"):
        template_of(steps="10,0")
    with pytest.raises(UsageError, match="--guidance"):
        RequestTemplate(settings=flag_values({"guidance": "-1"}))


def test_replacements_make_a_prompt_of_each_word():
    template = RequestTemplate(
        replacements=[PromptReplacement.parse("cat=dog, fox"), PromptReplacement.parse("red=blue")]
    )
    requests = template.expand({"prompt": ("a red cat",), "seed": (1, 2)})
    assert [(request.prompt, request.seed) for request in requests] == [
        ("a blue dog", 1),
        ("a blue dog", 2),
        ("a blue fox", 1),
        ("a blue fox", 2),
    ]
    assert [r.prompt for r in template.expand({"prompt": ("a fish",)})] == ["a fish"]


def test_braces_are_left_in_the_prompt_without_wildcards():
    [request], _ = read_text("txt", "a {red|blue} __cat__")
    assert request.prompt == "a {red|blue} __cat__"


def test_only_advance_changes_the_entries_after():
    [defaults, prompt], _ = entries_of("txt", lines_of("--steps 3\na cat"))
    expander = EntryExpander(RequestTemplate())
    for _ in range(2):
        assert expander.validate(defaults) == list(expander.expand(defaults)) == []
        assert expander.validate(prompt) == []
        assert [r.num_inference_steps for r in expander.expand(prompt)] == [None]
    assert not expander.has_prompts
    expander.advance(defaults)
    assert not expander.has_prompts
    assert [r.num_inference_steps for r in expander.expand(prompt)] == [3]
    assert (expander.count_images(defaults), expander.count_images(prompt)) == (0, 1)
    expander.advance(prompt)
    assert expander.has_prompts
    [error] = expander.validate(defaults)
    assert error.hint == "defaults must come before the first prompt"


def test_invalid_defaults_are_errors_and_do_not_apply():
    expander = EntryExpander(RequestTemplate())
    wrong = entry_of(steps=0, eta=0.5)
    assert [str(error).partition(" (")[0] for error in expander.validate(wrong)] == [
        "f:1:2: num_inference_steps"
    ]
    expander.advance(wrong)
    assert next(expander.expand(entry_of(prompt="a"))).eta is None
    with pytest.raises(UsageErrors):
        list(expander.expand(wrong))


def test_an_unreadable_prompt_is_no_default():
    expander = EntryExpander(RequestTemplate())
    [error] = expander.validate(entry_of(prompt=5, seed=1))
    assert str(error) == "f:1:2: prompt: 5 is not text"
    expander.advance(entry_of(prompt=5, seed=1))
    assert expander.has_prompts


def test_an_error_of_a_later_seed_is_located_by_its_field():
    entry = entry_of(prompt="a", seed=[1, 2**63 - 1], count=2)
    [error] = EntryExpander(RequestTemplate()).validate(entry)
    assert str(error).startswith("f:1:3: seed")
    with pytest.raises(UsageErrors):
        list(EntryExpander(RequestTemplate()).expand(entry))


def test_the_validators_errors_have_the_location_of_their_field():
    def validator(request):
        yield "scheduler", ModelError("no such model", code="model.missing")
        if request.seed:
            yield "model", UsageError("bad seed", code="usage.seed")

    expander = EntryExpander(RequestTemplate(), validator)
    errors = expander.validate(entry_of(prompt="a", scheduler="ddim", seed=1))
    assert [(str(error), error.code) for error in errors] == [
        ("f:1:3: no such model", "model.missing"),
        ("f:1: bad seed", "usage.seed"),
    ]
    with pytest.raises(ModelError):  # of the command line: no line of the file can be blamed
        expander.validate(entry_of(prompt="a"))


def test_an_error_in_defaults_is_located_there():
    def validator(request):
        if request.scheduler == "ddim":
            yield "scheduler", UsageError("not this one", code="usage.scheduler")

    for flags, expected in (({}, ["f:1:2: not this one"]), ({"scheduler": "euler"}, [])):
        expander = EntryExpander(template_of(**flags), validator)
        expander.advance(entry_of(scheduler="ddim"))
        assert [str(error) for error in expander.validate(entry_of(prompt="a"))] == expected
