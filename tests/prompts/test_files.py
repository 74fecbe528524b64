"""Test opening prompt files."""

from __future__ import annotations

import os
import threading

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
    assert errors[0].hint == "did you mean prompts.txt?"
    assert all(": cannot be read: " in str(error) for error in errors)
    with pytest.raises(UsageError, match="cannot be read"):
        next(read_entries(names[0], None))


def test_a_pipe_is_a_stream_and_keeps_its_data(tmp_path):
    pipe = tmp_path / "pipe.txt"
    os.mkfifo(pipe)
    assert is_stream(str(pipe))
    assert check_readable([str(pipe)], None) == []  # does not open it
    writer = threading.Thread(target=pipe.write_text, args=("a cat\n",))
    writer.start()
    [entry] = read_entries(str(pipe), None)
    writer.join()
    assert entry.fields == {"prompt": "a cat"}
    assert not any(map(is_stream, [str(tmp_path), str(tmp_path / "nowhere")]))
