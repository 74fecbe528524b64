"""Test opening prompt files."""

from __future__ import annotations

import os

import pytest

from sdcli.errors import UsageError
from sdcli.prompts.files import check_readable, is_stream, read_entries


def test_entries_are_read_by_extension_or_by_option(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b'\xef\xbb\xbf"a cat"\n')
    [entry] = read_entries(str(path), None)
    assert entry.fields == {"prompt": '"a cat"'}
    [entry] = read_entries(str(path), "jsonl")
    assert entry.fields == {"prompt": "a cat"}


def test_unreadable_files_are_reported_together(tmp_path):
    (tmp_path / "prompts.txt").write_text("a\n")
    names = [str(tmp_path / name) for name in ("promts.txt", "prompts.txt", "x.txt", "a\0.txt")]
    errors = check_readable([*names, str(tmp_path)], "txt")
    assert [error.code for error in errors] == ["usage.file"] * 4
    assert errors[0].hint == f"did you mean {tmp_path / 'prompts.txt'}?"
    assert all(": cannot be read: " in str(error) for error in errors)
    with pytest.raises(UsageError, match="cannot be read"):
        next(read_entries(names[0], None))


def test_an_open_pipe_is_a_stream_and_keeps_its_data():
    reader, writer = os.pipe()
    name = f"/dev/fd/{reader}"
    assert is_stream(name)
    assert check_readable([name], "txt") == []  # does not open it
    os.write(writer, b"a cat\n")
    os.close(writer)
    [entry] = read_entries(name, "txt")
    os.close(reader)
    assert entry.fields == {"prompt": "a cat"}


def test_a_named_pipe_is_refused_and_never_waited_for(tmp_path):
    pipe = tmp_path / "pipe.txt"
    os.mkfifo(pipe)
    assert not any(map(is_stream, map(str, [pipe, tmp_path, tmp_path / "nowhere"])))
    [error] = check_readable([str(pipe)], None)
    assert "it is a named pipe, not a file" in error.message
    assert "sdcli batch -" in (error.hint or "")
