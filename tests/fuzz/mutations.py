"""Damage bytes in ways that real files are damaged, and in ways that parsers do not expect."""

from __future__ import annotations

import random

_PIECES = (
    b"\0", b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", b"\xed\xa0\x80", b"\r", b"\r\n", b"\n", b"\t",
    b"\x1b[31m", "\u202e".encode(), "\u2028".encode(), b'"', b"'", b"\\", b"#", b"--", b"--seed ",
    b"{", b"}", b"[", b"]", b"[" * 3000, b"{a|b}", b"{2$$a|b}", b"__x__", b"${a}", b"$5", b"%{",
    b":", b": ", b",", b";", b"|", b"- ", b"&a ", b"*a", b"<<: ", b"!!python/name:os.system ",
    b"null", b"NaN", b"1e999", b"1" + b"0" * 400, b"9" * 5000, b"0x" + b"f" * 5000, b"-1", b"1..",
    b"1..9:2", b"true", b"2020-01-01", b"512x512", b"requests", b"defaults", b"prompt", b"x" * 300,
    b"~nouser/a", b"/proc/self/mem", b"..", b"\\u0000", b"\\ud800", b'"""', b"=", b"a = 1\n",
)  # fmt: skip
_ENCODINGS = ("utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1")


def mutate(choose: random.Random, data: bytes) -> bytes:
    """Return the data with up to six kinds of damage."""
    for _ in range(choose.randint(0, 6)):
        data = choose.choice((_insert, _insert, _insert, _cut, _repeat, _flip, _swap))(choose, data)
    return choose.choice((*(lambda d: d,) * 6, _line_ends, _encode))(data) if data else data


def _insert(choose: random.Random, data: bytes) -> bytes:
    at = choose.randint(0, len(data))
    return data[:at] + choose.choice(_PIECES) + data[at:]


def _cut(choose: random.Random, data: bytes) -> bytes:
    start = choose.randint(0, len(data))
    return data[:start] + data[start + choose.randint(1, 20) :]


def _repeat(choose: random.Random, data: bytes) -> bytes:
    start = choose.randint(0, len(data))
    part = data[start : start + choose.randint(1, 40)]
    return data[:start] + part * choose.randint(2, 5) + data[start:]


def _flip(choose: random.Random, data: bytes) -> bytes:
    at = choose.randint(0, len(data))
    return data[:at] + choose.randbytes(1) + data[at + 1 :]


def _swap(choose: random.Random, data: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    choose.shuffle(lines)
    return b"".join(lines)


def _line_ends(data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n").replace(b"\n", b"\r")


def _encode(data: bytes) -> bytes:
    text = data.decode("utf-8", "replace")
    return text.encode(_ENCODINGS[len(data) % len(_ENCODINGS)], "replace")
