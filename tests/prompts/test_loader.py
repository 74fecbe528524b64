"""Test the two passes over prompt files: one to validate, one to generate."""

from __future__ import annotations

import pytest

from sdcli.errors import UsageError, UsageErrors
from sdcli.prompts.entry_expander import EntryExpander
from sdcli.prompts.expansion import RequestTemplate
from sdcli.prompts.field_values import flag_values
from sdcli.prompts.loader import (
    KEEP_GOING,
    ValidationReport,
    load_requests,
    validate_files,
    validated_requests,
)
from sdcli.prompts.sweep import PromptReplacement
from sdcli.prompts.wildcards import Wildcards
from tests.prompts.prompt_files import entries_of, lines_of


def no_errors(request):
    return ()


def no_ddim(request):
    if request.scheduler == "ddim":
        yield "scheduler", UsageError("no ddim", code="usage.scheduler")


@pytest.fixture
def write(tmp_path):
    def write(name, text):
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return write


def validate(*files, validator=no_errors, **template):
    return validate_files(files, None, RequestTemplate(**template), validator)


def messages(report):
    return [str(error).rpartition("/")[2] for error in report.errors]


def test_valid_files_are_counted(write):
    a = write("a.txt", "--seed 1..3\na\nb --count 2\n")
    b = write("b.jsonl", '"c"\n')
    report = validate(a, b)
    assert (report.images, report.good, report.errors) == (10, 4, [])
    requests = list(load_requests([a, b], None, RequestTemplate()))
    assert sum(request.count for request in requests) == report.images


def test_the_count_is_unknown_with_all_combinations_of_wildcards(write):
    files = write("a.txt", "{a|b}\n"), write("b.txt", "c\n")
    assert validate(*files, wildcards=Wildcards(mode="all")).images is None
    assert validate(*files).images == 2


def test_all_errors_of_all_files_are_reported(write):
    files = (
        write("a.txt", "a --steps 0 --eta 9\n--seed 3\n"),
        write("b.jsonl", '{"prompt": "b", "sampler": "ddim"}\nx\n"c"\n'),
        write("c.txt", "# nothing\n"),
    )
    report = validate(*files, validator=no_ddim)
    assert [message.partition(" (")[0] for message in messages(report)] == [
        "a.txt:1:3: num_inference_steps",
        "a.txt:1:13: eta: 9.0 is not between 0 and 1",
        "a.txt:2:1: no prompt",
        "b.jsonl:1:17: no ddim",
        "b.jsonl:2:1: invalid JSON: a value is missing here",
        "c.txt",
    ]
    assert (report.good, report.images, report.total_errors) == (1, 1, 6)


def test_unreadable_files_are_reported_before_any_is_read(write):
    report = validate(write("a.txt", "a --steps 0\n"), "nowhere.txt", "x.doc")
    assert [message.partition(":")[0] for message in messages(report)] == ["nowhere.txt", "x.doc"]


def test_only_the_first_errors_are_kept(write):
    report = validate(write("a.jsonl", "x\n" * 150))
    assert (len(report.errors), report.total_errors) == (100, 150)


def test_an_error_in_defaults_is_counted_once(write):
    file = write("a.txt", "--sampler ddim\n" + "a cat\n" * 9)
    report = validate(file, validator=no_ddim)
    assert [message.partition(": ")[0] for message in messages(report)] == ["a.txt:1:1"]
    assert report.total_errors == 1


def test_flags_and_replacements_without_effect_are_reported(write):
    files = write("a.txt", "a cat --steps 3 --seed 1\n"), write("b.txt", "a dog --steps 4\n")
    report = validate(
        *files,
        flags=flag_values({"steps": "9", "seed": "9"}),
        replacements=[PromptReplacement.parse("cat=fox"), PromptReplacement.parse("pig=fox")],
    )
    assert [error.code for error in report.errors] == ["usage.replace"]
    assert "'pig'" in messages(report)[0]
    assert report.warnings == [
        "num_inference_steps (--steps) has no effect: every prompt sets its own value"
    ]


def test_invalid_entries_do_not_count_as_uses(write):
    file = write("a.txt", "a cat --steps 3\nb --steps 0\n")
    report = validate(file, flags=flag_values({"steps": "9"}))
    assert len(report.warnings) == 1


def test_loading_stops_at_the_first_invalid_entry_or_skips_it(write):
    file = write("a.jsonl", '"a"\n{"prompt": "b", "sampler": "ddim"}\nx\n{"prompt": 5}\n"c"\n')
    requests = load_requests([file], None, RequestTemplate())
    assert [next(requests).prompt for _ in range(2)] == ["a", "b"]
    with pytest.raises(UsageError, match="invalid JSON"):
        next(requests)
    rest = load_requests([file], None, RequestTemplate(), no_ddim)
    assert [request.prompt for request in rest] == ["a", "c"]


def test_skipped_entries_are_prompts_for_the_defaults_after_them(write):
    file = write("a.txt", "a --steps 0\n--steps 5\nb\n")
    [request] = load_requests([file], None, RequestTemplate(), no_errors)
    assert (request.prompt, request.num_inference_steps) == ("b", None)
    with pytest.raises(UsageErrors):
        list(load_requests([file], None, RequestTemplate()))


def test_a_stream_entry_is_validated_before_its_first_request():
    [entry] = entries_of("jsonl", lines_of('{"prompt": "a", "sampler": ["euler", "ddim"]}'))[0]
    requests = validated_requests(entry, EntryExpander(RequestTemplate(), no_ddim))
    with pytest.raises(UsageErrors, match="no ddim") as caught:
        next(requests)
    assert caught.value.summary().hint == KEEP_GOING
    expander = EntryExpander(RequestTemplate())
    assert len(list(validated_requests(entry, expander))) == 2
    assert expander.has_prompts


def test_several_errors_count_each():
    report = ValidationReport()
    errors = [UsageError(text, code="usage.x") for text in "abca"]
    report.add_errors(UsageErrors(errors[:2]), *errors[2:])
    assert (report.total_errors, [str(error) for error in report.errors]) == (3, ["a", "b", "c"])
