"""Test the errors of prompt files that are not text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sdcli.inputs.text_decoding import decode_lines
from sdcli.prompts.encoding import check_document, check_text
from sdcli.prompts.entry import SourceLocation


@given(
    st.text(st.characters(codec="utf-8", exclude_characters="\ufeff\r\n\0"), min_size=1),
    st.binary(max_size=8),
)
def test_the_first_invalid_byte_is_found(text, tail):
    line = next(decode_lines([text.encode() + b"\xff" + tail]))
    error = check_text(line, SourceLocation("f", 3))
    assert str(error) == f"f:3:{len(text) + 1}: not UTF-8 (byte 0xff)"
    assert check_text(text, SourceLocation("f", 3)) is None


def test_the_first_invalid_line_of_a_document_is_found():
    text = "".join(decode_lines(["ä\nb\n c\xff".encode("latin-1").replace(b"\xe4", "ä".encode())]))
    assert str(check_document(text, "f")) == "f:3:3: not UTF-8 (byte 0xff)"
    assert check_document("a\nb", "f") is None
