"""Decode text from outside: files, stdin and settings, in UTF-8 or UTF-16, with any line ends."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from typing import Final

from sdcli.errors import UsageError

LINE: Final = "\n"
NUL: Final = "\0"

# The longest byte order mark, of UTF-32. Until so many bytes have arrived, or a line end, the
# encoding is unknown.
_LONGEST_MARK: Final = 4
_UTF_32: Final = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
_UTF_16: Final = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}

# Bytes that cannot be decoded become lone surrogates, so that each line has its own error: those of
# UTF-8 are U+DC80 to U+DCFF, and these two stand for the other encodings.
_NOT_UTF_16: Final = "\ud800"
_IS_UTF_32: Final = "\ud801"
_BAD_CHARACTER = re.compile("[\0\ud800-\udfff]")
_SAVE_AS_UTF_8: Final = "save the file as UTF-8"


def _mark_not_utf_16(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return _NOT_UTF_16, error.end


codecs.register_error("sdcli.utf-16", _mark_not_utf_16)


class LineDecoder:
    """Decodes chunks of bytes to lines, each as soon as its end has arrived.

    The encoding is UTF-8, or UTF-16 if its byte order mark comes first. Lines end with CR, LF or
    CRLF and are returned with LF; with the separator NUL, only NUL ends them. Invalid bytes do not
    raise: `find_bad_character` finds them in a line.
    """

    def __init__(self, separator: str = LINE) -> None:
        self._separator = separator
        self._head: bytes | None = b""
        self._decoder: codecs.IncrementalDecoder | None = None
        self._parts: list[str] = []
        self._after_cr = False

    def feed(self, chunk: bytes) -> list[str]:
        """Return the lines that end in this chunk; an empty chunk ends the text."""
        is_end = not chunk
        if self._head is not None:
            chunk = self._head + chunk
            if len(chunk) < _LONGEST_MARK and not is_end and not _is_plain(chunk):
                self._head = chunk
                return []
            self._head = None
            chunk = self._choose_encoding(chunk)
        text = self._decoder.decode(chunk, is_end) if self._decoder else ""
        *lines, tail = self._split(text)
        if lines:
            lines[0] = "".join(self._parts) + lines[0]
            self._parts = []
        # A line of many chunks is joined once: adding to it each time would take quadratic time.
        if tail:
            self._parts.append(tail)
        if is_end and self._parts:
            lines.append("".join(self._parts))
            self._parts = []
        return lines

    def _choose_encoding(self, head: bytes) -> bytes:
        """Choose the encoding by the first bytes; return them without the byte order mark."""
        if head[:4] in _UTF_32:
            # Decoded no further: one line with one error.
            self._parts = [_IS_UTF_32]
            return b""
        if encoding := _UTF_16.get(head[:2]):
            self._decoder = codecs.getincrementaldecoder(encoding)("sdcli.utf-16")
            return head[2:]
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        return head.removeprefix(codecs.BOM_UTF8)

    def _split(self, text: str) -> list[str]:
        """Split at separators, which stay; the last part has none."""
        if self._separator == LINE:
            text = self._with_plain_line_ends(text)
        *lines, tail = text.split(self._separator)
        end = LINE if self._separator == LINE else ""
        return [*(line + end for line in lines), tail]

    def _with_plain_line_ends(self, text: str) -> str:
        # A line that ends with CR is complete: it does not wait for the chunk that may begin with
        # LF.
        if self._after_cr and text:
            text = text.removeprefix("\n")
            self._after_cr = False
        if "\r" not in text:
            return text
        self._after_cr = text.endswith("\r")
        return text.replace("\r\n", "\n").replace("\r", "\n")


def _is_plain(head: bytes) -> bool:
    """Whether the first bytes cannot begin a byte order mark."""
    marks = (codecs.BOM_UTF8, *_UTF_16, *_UTF_32)
    return not any(mark.startswith(head[: len(mark)]) for mark in marks)


def decode_lines(chunks: Iterable[bytes], separator: str = LINE) -> Iterator[str]:
    """Yield the lines of chunks of bytes, with their line ends."""
    decoder = LineDecoder(separator)
    for chunk in chunks:
        if chunk:
            yield from decoder.feed(chunk)
    yield from decoder.feed(b"")


def decode_text(data: bytes, file: str, *, code: str) -> str:
    """Decode a file's whole text. Raises UsageError with the line and column of a bad byte."""
    lines = list(decode_lines([data]))
    for number, line in enumerate(lines, 1):
        if offset := find_bad_character(line):
            what, hint = describe_bad_character(line[offset - 1])
            raise UsageError(f"{file}:{number}:{offset}: {what}", code=code, hint=hint)
    return "".join(lines)


def find_bad_character(text: str) -> int | None:
    """Return the column, from 1, of the first character that is in no text, or None."""
    if text.isascii() and NUL not in text:
        return None
    match = _BAD_CHARACTER.search(text)
    return match.start() + 1 if match else None


def describe_bad_character(character: str) -> tuple[str, str]:
    """Return the message and the hint for a character that `find_bad_character` finds."""
    if character == NUL:
        return "NUL character, which no text has", _SAVE_AS_UTF_8
    if character == _IS_UTF_32:
        return "UTF-32 is not supported", _SAVE_AS_UTF_8
    if "\udc80" <= character <= "\udcff":
        return f"not UTF-8 (byte 0x{ord(character) - 0xDC00:02x})", _SAVE_AS_UTF_8
    return "not UTF-16", _SAVE_AS_UTF_8
