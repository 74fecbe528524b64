"""Test sources of requests: a batch holds what has arrived, and does not wait for more."""

from __future__ import annotations

import os
import threading
from functools import partial

import pytest

from sdcli.errors import UsageError
from sdcli.prompts.entry_expander import EntryExpander
from sdcli.prompts.expansion import RequestTemplate
from sdcli.prompts.formats import get_reader
from sdcli.prompts.loader import validated_requests
from sdcli.prompts.readers.txt import read_plain_lines
from sdcli.prompts.sources import IterableSource, StreamSource
from sdcli.request import GenerationRequest


@pytest.fixture
def pipe():
    reader_end, writer = os.pipe()
    yield reader_end, writer
    os.close(reader_end)


def stream(descriptor, reader=read_plain_lines, **options):
    expander = EntryExpander(RequestTemplate(flags={"num_inference_steps": (4,)}))
    expand = partial(validated_requests, expander=expander)
    return StreamSource(descriptor, reader, expand, **options)


def prompts(requests):
    return [request.prompt for request in requests]


def test_only_complete_lines_are_taken(pipe):
    descriptor, writer = pipe
    source = stream(descriptor)
    os.write(writer, b"a cat\na dog\nhalf a li")
    assert prompts(source.take(9, wait=True)) == ["a cat", "a dog"]
    assert source.take(9, wait=False) == []
    os.write(writer, b"ne\n")
    assert prompts(source.take(9, wait=False)) == ["half a line"]
    os.close(writer)
    assert source.take(9, wait=True) == []


@pytest.mark.parametrize("name", ["txt", "csv", "tsv", "jsonl"])
def test_line_formats_do_not_wait_for_the_next_line(pipe, name):
    descriptor, writer = pipe
    source = stream(descriptor, get_reader(name))
    first = {"csv": b"prompt,seed\n", "tsv": b"prompt\tseed\n"}.get(name, b"\n")
    os.write(writer, first)
    assert source.take(9, wait=False) == []
    os.write(writer, b'"a cat"\n\n')
    quotes = '"' if name == "txt" else ""
    assert prompts(source.take(9, wait=False)) == [f"{quotes}a cat{quotes}"]
    assert source.take(9, wait=False) == []
    os.close(writer)
    assert source.take(9, wait=True) == []


def test_a_limit_leaves_the_rest_for_the_next_call(pipe):
    descriptor, writer = pipe
    source = stream(descriptor)
    os.write(writer, b"1\n2\n3\n")
    os.close(writer)
    assert prompts(source.take(2, wait=True)) == ["1", "2"]
    assert prompts(source.take(2, wait=True)) == ["3"]


def test_waiting_ends_with_the_first_line(pipe):
    descriptor, writer = pipe
    source = stream(descriptor)
    later = threading.Timer(0.1, os.write, (writer, b"# no\nlate\n"))
    later.start()
    assert prompts(source.take(5, wait=True)) == ["late"]
    later.join()
    os.close(writer)


def test_blank_lines_comments_and_a_byte_order_mark_are_skipped(pipe):
    descriptor, writer = pipe
    os.write(writer, "\ufeffa cat\r\n\n  # no\n  ein Äpfelchen  \n# end".encode())
    os.close(writer)
    assert prompts(stream(descriptor).take(9, wait=True)) == ["a cat", "ein Äpfelchen"]


def test_the_command_line_sets_the_other_fields(pipe):
    descriptor, writer = pipe
    os.write(writer, b"a cat --steps 9")
    os.close(writer)
    [request] = stream(descriptor).take(1, wait=True)
    assert request == GenerationRequest(prompt="a cat --steps 9", num_inference_steps=4)


def test_an_invalid_line_raises_after_the_requests_before_it(pipe):
    descriptor, writer = pipe
    os.write(writer, b"a cat\n\xff\xfe\n")
    os.close(writer)
    source = stream(descriptor)
    assert prompts(source.take(9, wait=True)) == ["a cat"]
    assert source.take(9, wait=False) == []
    with pytest.raises(UsageError, match=r"stdin:2:1: not UTF-8 \(byte 0xff\)"):
        source.take(9, wait=True)


def test_invalid_lines_can_be_skipped(pipe):
    descriptor, writer = pipe
    os.write(writer, b"a cat --steps x\n\xff\na dog --steps 3\n--steps 5\na fish\n")
    os.close(writer)
    errors = []
    source = stream(descriptor, get_reader("txt"), skip=errors.append)
    assert prompts(source.take(9, wait=True)) == ["a dog", "a fish"]
    assert [str(error).split(": ")[0] for error in errors] == [
        "stdin:1:7",
        "stdin:2:1",
        "stdin:4:1",
    ]


def test_a_line_may_be_longer_than_one_read(pipe):
    descriptor, writer = pipe
    text = "x" * 16_000
    feeder = threading.Thread(
        target=lambda: (os.write(writer, f"{text}\n{text}\n".encode() * 9), os.close(writer))
    )
    feeder.start()
    source, received = stream(descriptor), []
    while requests := source.take(4, wait=True):
        received += prompts(requests)
    feeder.join()
    assert received == [text] * 18


def test_an_iterable_has_all_requests_from_the_start():
    source = IterableSource([GenerationRequest(prompt="a cat")] * 3)
    assert [len(source.take(2, wait=False)) for _ in range(3)] == [2, 1, 0]


def test_a_folder_is_no_stream():
    descriptor = os.open(".", os.O_RDONLY)
    with pytest.raises(UsageError, match="stdin: cannot be read: Is a directory"):
        stream(descriptor).take(1, wait=True)
    os.close(descriptor)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_lines_arrive_one_at_a_time_in_any_encoding(pipe, encoding, end):
    descriptor, writer = pipe
    source, received = stream(descriptor), []
    data = f"a cat{end}ein Äpfelchen{end}".encode(encoding)
    for byte in data:
        os.write(writer, bytes([byte]))
        received += prompts(source.take(9, wait=False))
        if len(received) == 1:
            assert received == ["a cat"]
    assert received == ["a cat", "ein Äpfelchen"]
    os.close(writer)
    assert source.take(9, wait=True) == []
