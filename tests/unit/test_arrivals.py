"""Prompts on stdin: a batch is what has already arrived, and nothing waits for more."""

from __future__ import annotations

import os
import threading

import pytest

from sdcli.errors import UsageError
from sdcli.prompts.arrivals import Given, Lines
from sdcli.request import GenerationRequest

TEMPLATE = GenerationRequest(prompt="-", num_inference_steps=4)


@pytest.fixture
def pipe():
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)


def prompts(requests):
    return [request.prompt for request in requests]


def test_lines_take_only_what_is_there(pipe):
    reader, writer = pipe
    lines = Lines(reader, TEMPLATE)
    os.write(writer, b"a cat\na dog\nhalf a li")
    assert prompts(lines.take(9, wait=True)) == ["a cat", "a dog"]
    assert lines.take(9, wait=False) == []
    os.write(writer, b"ne\n")
    assert prompts(lines.take(9, wait=False)) == ["half a line"]
    os.close(writer)
    assert lines.take(9, wait=True) == []


def test_a_limit_leaves_the_rest_for_later(pipe):
    reader, writer = pipe
    lines = Lines(reader, TEMPLATE)
    os.write(writer, b"1\n2\n3\n")
    os.close(writer)
    assert prompts(lines.take(2, wait=True)) == ["1", "2"]
    assert prompts(lines.take(2, wait=True)) == ["3"]


def test_waiting_ends_with_the_first_line(pipe):
    reader, writer = pipe
    lines = Lines(reader, TEMPLATE)
    later = threading.Timer(0.1, os.write, (writer, b"late\n"))
    later.start()
    assert prompts(lines.take(5, wait=True)) == ["late"]
    later.join()
    os.close(writer)


def test_blank_lines_comments_and_a_byte_order_mark_are_no_prompts(pipe):
    reader, writer = pipe
    os.write(writer, "\ufeffa cat\r\n\n  # no\n  ein Äpfelchen  \n# end".encode())
    os.close(writer)
    assert prompts(Lines(reader, TEMPLATE).take(9, wait=True)) == ["a cat", "ein Äpfelchen"]


def test_a_last_line_needs_no_line_end(pipe):
    reader, writer = pipe
    os.write(writer, b"a cat\na dog")
    os.close(writer)
    assert prompts(Lines(reader, TEMPLATE).take(9, wait=True)) == ["a cat", "a dog"]


def test_the_rest_of_the_request_is_the_templates(pipe):
    reader, writer = pipe
    os.write(writer, b"a cat\n")
    os.close(writer)
    [request] = Lines(reader, TEMPLATE).take(1, wait=True)
    assert request == GenerationRequest(prompt="a cat", num_inference_steps=4)


def test_a_bad_line_is_named(pipe):
    reader, writer = pipe
    os.write(writer, b"a cat\n\xff\xfe\n")
    os.close(writer)
    lines = Lines(reader, TEMPLATE)
    assert prompts(lines.take(9, wait=True)) == ["a cat"]
    assert lines.take(9, wait=False) == []
    with pytest.raises(UsageError, match="stdin:2: not UTF-8"):
        lines.take(9, wait=True)


def test_a_line_longer_than_a_read(pipe):
    reader, writer = pipe
    text = "x" * 16_000
    feeder = threading.Thread(
        target=lambda: (os.write(writer, f"{text}\n{text}\n".encode() * 9), os.close(writer))
    )
    feeder.start()
    lines, got = Lines(reader, TEMPLATE), []
    while taken := lines.take(4, wait=True):
        got += prompts(taken)
    feeder.join()
    assert got == [text] * 18


def test_given_requests_are_all_there():
    given = Given([TEMPLATE, TEMPLATE, TEMPLATE])
    assert [len(given.take(2, wait=False)) for _ in range(3)] == [2, 1, 0]
