"""Test the door of all text from outside: encodings, line ends, and bytes that are no text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdcli.errors import UsageError
from sdcli.inputs.text_decoding import LineDecoder, decode_lines, decode_text, find_bad_character

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\ufeff\0"), max_size=40)
ENCODERS = {
    "utf-8": lambda text: text.encode(),
    "utf-8 with BOM": lambda text: text.encode("utf-8-sig"),
    "utf-16": lambda text: text.encode("utf-16"),
    "utf-16-le": lambda text: b"\xff\xfe" + text.encode("utf-16-le"),
    "utf-16-be": lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
}


def plain(text):
    return text.replace("\r\n", "\n").replace("\r", "\n")


@given(TEXT, st.sampled_from(list(ENCODERS)), st.lists(st.integers(1, 9), max_size=30))
def test_chunks_of_any_size_give_the_same_lines(text, encoding, sizes):
    data = ENCODERS[encoding](text)
    decoder, lines = LineDecoder(), []
    for size in sizes:
        if data[:size]:
            lines += decoder.feed(data[:size])
        data = data[size:]
    lines += (decoder.feed(data) if data else []) + decoder.feed(b"")
    assert "".join(lines) == plain(text)
    assert all(line.find("\n") in (-1, len(line) - 1) for line in lines)
    assert all(line.endswith("\n") for line in lines[:-1])


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
@pytest.mark.parametrize("encoding", ENCODERS)
def test_three_lines_are_three(end, encoding):
    data = ENCODERS[encoding](f"a{end}ä{end}c")
    assert list(decode_lines([data])) == ["a\n", "ä\n", "c"]


@pytest.mark.parametrize("end", [b"\n", b"\r"])
def test_a_line_does_not_wait_for_the_next_chunk(end):
    decoder = LineDecoder()
    assert decoder.feed(b"a" + end) == ["a\n"]
    assert decoder.feed(b"\n" if end == b"\r" else b"b") == []


def test_nul_ends_records_on_request():
    assert list(decode_lines([b"a\nb\0c\r\0", b"d"], "\0")) == ["a\nb", "c\r", "d"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a\nb\0", "f:2:2: NUL character, which no text has"),
        (b"a\r\nb\xff", "f:2:2: not UTF-8 (byte 0xff)"),
        ("caf\xe9".encode("latin-1"), "f:1:4: not UTF-8 (byte 0xe9)"),
        ("a cat".encode("utf-16-le"), "f:1:2: NUL character, which no text has"),
        (b"\xff\xfea\0\n\0\0\xd8", "f:2:1: not UTF-16"),
        (b"\xff\xfea\0b", "f:1:2: not UTF-16"),
        ("a cat".encode("utf-32"), "f:1:1: UTF-32 is not supported"),
        (b"\0\0\xfe\xff\0\0\0a", "f:1:1: UTF-32 is not supported"),
        (b"\xed\xa0\x80", "f:1:1: not UTF-8 (byte 0xed)"),
    ],
)
def test_what_is_no_text_is_refused_with_its_place(data, message):
    with pytest.raises(UsageError) as caught:
        decode_text(data, "f", code="usage.test")
    assert caught.value.message == message
    assert caught.value.hint is not None


def test_a_text_is_decoded_whole():
    assert decode_text(b"\xef\xbb\xbfa\r\nb\r", "f", code="usage.test") == "a\nb\n"
    assert decode_text(b"", "f", code="usage.test") == ""
    assert find_bad_character("ä\n") is None
