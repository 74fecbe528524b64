"""Prompts on stdin: a batch is what has already arrived, and nothing waits for more."""

from __future__ import annotations

import os
import threading

import pytest

from sdcli.errors import UsageError
from sdcli.prompts.expansion import EntryExpander, RequestTemplate
from sdcli.prompts.formats import get_reader
from sdcli.prompts.readers.txt import read_plain_lines
from sdcli.prompts.sources import IterableSource, StreamSource
from sdcli.request import GenerationRequest


@pytest.fixture
def pipe():
    reader_end, writer = os.pipe()
    yield reader_end, writer
    os.close(reader_end)


def stream(descriptor, read=read_plain_lines, **more):
    asked = RequestTemplate(flags={"num_inference_steps": (4,)})
    return StreamSource(descriptor, read, EntryExpander(asked).expand, **more)


def prompts(requests):
    return [request.prompt for request in requests]


def test_takes_only_what_is_there(pipe):
    descriptor, writer = pipe
    lines = stream(descriptor)
    os.write(writer, b"a cat\na dog\nhalf a li")
    assert prompts(lines.take(9, wait=True)) == ["a cat", "a dog"]
    assert lines.take(9, wait=False) == []
    os.write(writer, b"ne\n")
    assert prompts(lines.take(9, wait=False)) == ["half a line"]
    os.close(writer)
    assert lines.take(9, wait=True) == []


@pytest.mark.parametrize("name", ["txt", "csv", "tsv", "jsonl"])
def test_formats_of_lines_do_not_wait_for_the_next_one(pipe, name):
    descriptor, writer = pipe
    lines = stream(descriptor, get_reader(name))
    first = {"csv": b"prompt,seed\n", "tsv": b"prompt\tseed\n"}.get(name, b"\n")
    os.write(writer, first)
    assert lines.take(9, wait=False) == []
    os.write(writer, b'"a cat"\n\n')
    quotes = '"' if name == "txt" else ""
    assert prompts(lines.take(9, wait=False)) == [f"{quotes}a cat{quotes}"]
    assert lines.take(9, wait=False) == []
    os.close(writer)
    assert lines.take(9, wait=True) == []


def test_a_limit_leaves_the_rest_for_later(pipe):
    descriptor, writer = pipe
    lines = stream(descriptor)
    os.write(writer, b"1\n2\n3\n")
    os.close(writer)
    assert prompts(lines.take(2, wait=True)) == ["1", "2"]
    assert prompts(lines.take(2, wait=True)) == ["3"]


def test_waiting_ends_with_the_first_line(pipe):
    descriptor, writer = pipe
    lines = stream(descriptor)
    later = threading.Timer(0.1, os.write, (writer, b"# no\nlate\n"))
    later.start()
    assert prompts(lines.take(5, wait=True)) == ["late"]
    later.join()
    os.close(writer)


def test_blank_lines_comments_and_a_byte_order_mark_are_no_prompts(pipe):
    descriptor, writer = pipe
    os.write(writer, "\ufeffa cat\r\n\n  # no\n  ein Äpfelchen  \n# end".encode())
    os.close(writer)
    assert prompts(stream(descriptor).take(9, wait=True)) == ["a cat", "ein Äpfelchen"]


def test_the_rest_of_the_request_is_the_command_lines(pipe):
    descriptor, writer = pipe
    os.write(writer, b"a cat --steps 9")
    os.close(writer)
    [request] = stream(descriptor).take(1, wait=True)
    assert request == GenerationRequest(prompt="a cat --steps 9", num_inference_steps=4)


def test_a_bad_line_is_named_after_what_came_before(pipe):
    descriptor, writer = pipe
    os.write(writer, b"a cat\n\xff\xfe\n")
    os.close(writer)
    lines = stream(descriptor)
    assert prompts(lines.take(9, wait=True)) == ["a cat"]
    assert lines.take(9, wait=False) == []
    with pytest.raises(UsageError, match="stdin:2:1: not UTF-8"):
        lines.take(9, wait=True)


def test_bad_lines_are_skipped_when_asked(pipe):
    descriptor, writer = pipe
    os.write(writer, b"a cat --steps x\n\xff\na dog --steps 3\n--steps 5\na fish\n")
    os.close(writer)
    bad = []
    lines = stream(descriptor, get_reader("txt"), skip=bad.append)
    assert prompts(lines.take(9, wait=True)) == ["a dog", "a fish"]
    assert [str(error).split(": ")[0] for error in bad] == ["stdin:1:7", "stdin:2:1", "stdin:4:1"]


def test_a_line_longer_than_a_read(pipe):
    descriptor, writer = pipe
    text = "x" * 16_000
    feeder = threading.Thread(
        target=lambda: (os.write(writer, f"{text}\n{text}\n".encode() * 9), os.close(writer))
    )
    feeder.start()
    lines, got = stream(descriptor), []
    while taken := lines.take(4, wait=True):
        got += prompts(taken)
    feeder.join()
    assert got == [text] * 18


def test_given_requests_are_all_there():
    given = IterableSource([GenerationRequest(prompt="a cat")] * 3)
    assert [len(given.take(2, wait=False)) for _ in range(3)] == [2, 1, 0]
