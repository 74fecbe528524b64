"""Test the decoding of prompt files."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sdcli.prompts.encoding import (
    check_document_utf8,
    check_utf8,
    decode_line,
    invalid_utf8_offset,
)
from sdcli.prompts.entry import SourceLocation


@given(st.text(st.characters(exclude_categories=["Cs"])), st.booleans())
def test_utf_8_is_decoded_without_a_byte_order_mark(text, first):
    text = text.removeprefix("\ufeff")
    assert decode_line(text.encode(), first=first) == text
    assert decode_line(b"\xef\xbb\xbf" + text.encode(), first=True) == text
    assert check_utf8(text, SourceLocation("f", 1)) is None


@given(st.text(st.characters(codec="utf-8", exclude_characters="\ufeff")), st.binary(max_size=8))
def test_the_first_invalid_byte_is_found(text, tail):
    line = decode_line(text.encode() + b"\xff" + tail, first=True)
    assert invalid_utf8_offset(line) == len(text)
    error = check_utf8(line, SourceLocation("f", 3))
    assert str(error) == f"f:3:{len(text) + 1}: not UTF-8"


def test_the_first_invalid_line_of_a_document_is_found():
    text = decode_line("ä\nb\n c\xff".encode("latin-1").replace(b"\xe4", "ä".encode()), first=True)
    assert str(check_document_utf8(text, "f")) == "f:3:3: not UTF-8"
    assert check_document_utf8("a\nb", "f") is None
