"""Converted networks are written once, whole or not at all, and again when they are damaged."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from sdcli.engine.backends.model_cache import MODEL, find_or_convert
from sdcli.errors import OutputError

FACTS = {"weights": "ab" * 32, "versions": {"openvino": "1"}, "dtype": "float32"}


class Converter:
    """Writes the two files of a network, and counts how often."""

    def __init__(self, data: bytes = b"weights") -> None:
        self.data, self.calls = data, 0

    def __call__(self, path: Path) -> None:
        self.calls += 1
        path.write_text("<net/>")
        path.with_suffix(".bin").write_bytes(self.data)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "sdcli" / "openvino"


def state(folder: Path) -> list[tuple[str, int, int]]:
    files = sorted(folder.iterdir())
    return [(p.name, p.stat().st_ino, p.stat().st_mtime_ns) for p in files]


def test_the_second_time_finds_the_files_of_the_first(cache):
    convert = Converter()
    path = find_or_convert(FACTS, convert)
    before = state(path.parent)
    assert find_or_convert(dict(reversed(FACTS.items())), convert) == path
    assert (convert.calls, state(path.parent)) == (1, before)
    assert [p.name for p in cache.iterdir()] == [path.parent.name]
    assert json.loads((path.parent / "manifest.json").read_text())["facts"] == FACTS


@pytest.mark.parametrize(
    "changed", [{"weights": "cd" * 32}, {"versions": {"openvino": "2"}}, {"dtype": "bfloat16"}]
)
def test_other_facts_have_other_files(changed):
    convert = Converter()
    assert find_or_convert(FACTS, convert) != find_or_convert(FACTS | changed, convert)
    assert convert.calls == 2


def cut(folder: Path) -> None:
    os.truncate(folder / "model.bin", 3)


def flip(folder: Path) -> None:
    (folder / "model.bin").write_bytes(b"weightz")


def remove(folder: Path) -> None:
    (folder / "model.bin").unlink()


def empty(folder: Path) -> None:
    (folder / MODEL).write_text("")


def forget(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def garble(folder: Path) -> None:
    (folder / "manifest.json").write_text('{"sha256": ["model.xml"]}')


def promise_nothing(folder: Path) -> None:
    (folder / "manifest.json").write_text('{"sha256": {}}')


def replace_by_a_file(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    folder.write_text("")


@pytest.mark.parametrize(
    "damage", [cut, flip, remove, empty, forget, garble, promise_nothing, replace_by_a_file]
)
def test_a_damaged_one_is_made_again(damage, cache):
    convert = Converter()
    path = find_or_convert(FACTS, convert)
    damage(path.parent)
    assert find_or_convert(FACTS, convert) == path
    assert (convert.calls, path.with_suffix(".bin").read_bytes()) == (2, b"weights")
    assert find_or_convert(FACTS, convert) == path
    assert convert.calls == 2
    assert [p.name for p in cache.iterdir()] == [path.parent.name]


def test_an_interrupted_one_leaves_nothing(cache):
    def interrupted(path: Path) -> None:
        path.write_text("<n")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find_or_convert(FACTS, interrupted)
    assert list(cache.iterdir()) == []


def test_a_faster_process_is_no_error(cache):
    slow, fast = Converter(), Converter()

    def overtaken(path: Path) -> None:
        find_or_convert(FACTS, fast)
        slow(path)

    path = find_or_convert(FACTS, overtaken)
    assert (slow.calls, fast.calls) == (1, 1)
    assert find_or_convert(FACTS, slow) == path
    assert slow.calls == 1
    assert [p.name for p in cache.iterdir()] == [path.parent.name]


def test_a_cache_that_cannot_be_written_is_an_error_in_one_line(cache):
    cache.parent.mkdir(parents=True)
    cache.write_text("")
    with pytest.raises(OutputError, match="cannot write the network for OpenVINO") as raised:
        find_or_convert(FACTS, Converter())
    assert "XDG_CACHE_HOME" in str(raised.value.hint)
