"""Test the files of a wildcard folder."""

from __future__ import annotations

import logging
import os

import pytest

from sdcli.errors import UsageError
from sdcli.prompts.wildcards import Wildcards
from sdcli.request import GenerationRequest


def fill(prompt, folder, mode="all"):
    request = GenerationRequest(prompt=prompt, seed=1)
    return [r.prompt for r in Wildcards(mode=mode, folder=folder).expand(request)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_lists_have_any_encoding_and_line_ends(tmp_path, encoding, end):
    lines = ["rot", "# no", "", "  grün # a comment", "C#", "50%"]
    (tmp_path / "color.txt").write_bytes(end.join(lines).encode(encoding))
    assert fill("__color__", tmp_path) == ["50%", "C#", "grün", "rot"]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("c.txt", b"red\nb\xff\n", "c.txt:2:2: not UTF-8 (byte 0xff)"),
        ("c.txt", b"red\nblue\0\n", "c.txt:2:5: NUL character"),
        ("c.txt", b"red\n\n{blue|\n", "c.txt:3: wildcards in '{blue|': syntax error at '{blue|'"),
        ("c.txt", b"red\n__d__\n", "c.txt:2: unknown wildcard __d__"),
        ("c.txt", b"red\n__c__\n", "c.txt:2: wildcards in '__c__': __c__ refers to itself"),
        ("c.txt", b"", "the wildcard list c in FOLDER is empty"),
        ("c.txt", b"# red\n\n", "the wildcard list c in FOLDER is empty"),
        ("x.json", b'{"c": ["red",]}', "x.json:1:14: invalid JSON: "),
        ("x.json", b'{"c": 3}', "x.json: 'c' is not a list of texts"),
        ("x.json", b'{"c": [[1]]}', "x.json: 'c' has a value that is not text"),
        ("x.json", b'{"c": [{"text": "a", "weight": 1e99}]}', "x.json: 'c' has a value that"),
        ("x.json", b'{"c": []}', "the wildcard list c in FOLDER is empty"),
        ("x.json", b"[" * 99_999, "x.json: invalid JSON: nested too deeply"),
        ("x.json", b"{\xff}", "x.json:1:2: not UTF-8"),
        ("x.yaml", b"c: [red", "x.yaml:1:8: invalid YAML: the bracket [ is not closed"),
        ("x.yaml", b"c: !!python/name:os.system x", "x.yaml:1:4: invalid YAML: "),
        ("x.yaml", b"3", "x.yaml: not an object of lists"),
    ],
)
@pytest.mark.parametrize("mode", ["random", "all"])
def test_what_is_wrong_in_a_list_is_named_by_file_and_line(tmp_path, name, data, message, mode):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UsageError) as caught:
        fill("a __c__", tmp_path, mode)
    text = caught.value.message
    assert text.replace(f"{tmp_path}/", "").replace(str(tmp_path), "FOLDER").startswith(message)


def test_a_folder_and_a_pipe_are_no_lists(tmp_path):
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "folder.txt").mkdir()
    with pytest.raises(UsageError, match="a named pipe, not a file"):
        fill("__pipe__", tmp_path)
    with pytest.raises(UsageError, match="unknown wildcard __folder__"):
        fill("__folder__", tmp_path)


def test_documents_hold_lists_by_name(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "x.yaml").write_text("animal:\n  big: [cow, 2::horse]\n  small: cat\n")
    (tmp_path / "y.json").write_text('["a", {"text": "b", "weight": 3}]')
    assert fill("__sub/animal/big__", tmp_path) == ["cow", "horse"]
    assert fill("__animal/*__", tmp_path) == ["cat", "cow", "horse"]
    assert set(fill("__y__", tmp_path)) == {"a", "b"}


@pytest.mark.parametrize("mode", ["random", "all"])
def test_the_library_is_silent(tmp_path, mode, capfd):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "color.txt").write_text("red\n")
    logging.getLogger("dynamicprompts.wildcards").setLevel(logging.NOTSET)
    assert fill("__color__", tmp_path, mode) == ["red"]
    assert capfd.readouterr() == ("", "")
