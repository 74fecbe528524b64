"""Hashes of large files are kept on disk until the file changes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sdcli.checkpoints import hash_cache
from sdcli.checkpoints.hash_cache import FileState
from sdcli.inputs.paths import cache_folder

DIGEST = "0" * 64


@pytest.fixture(autouse=True)
def _small_files_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(hash_cache, "_MIN_BYTES", 1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def state_of(path: Path) -> FileState:
    stat = path.stat()
    return FileState(path, stat.st_size, stat.st_mtime_ns, stat.st_ino)


def test_a_hash_is_found_until_the_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    before = state_of(path)
    assert hash_cache.find(before) is None
    hash_cache.store(before, DIGEST)
    assert hash_cache.find(before) == DIGEST
    os.utime(path, ns=(1, 2))
    assert hash_cache.find(state_of(path)) is None
    new = tmp_path / "b"
    new.write_bytes(b"abd")
    os.utime(new, ns=(before.mtime_ns, before.mtime_ns))
    os.replace(new, path)
    assert hash_cache.find(state_of(path)) is None


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"{}", b'{"sha256": 5}', b"\xff"])
def test_a_damaged_entry_is_no_hash(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    hash_cache.store(state_of(path), DIGEST)
    [entry] = (cache_folder() / "hashes").iterdir()
    entry.write_bytes(damage)
    assert hash_cache.find(state_of(path)) is None


def test_small_files_and_an_unwritable_cache_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    (tmp_path / "cache").write_text("a file in the place of the folder")
    hash_cache.store(state_of(path), DIGEST)
    assert hash_cache.find(state_of(path)) is None
    (tmp_path / "cache").unlink()
    monkeypatch.setattr(hash_cache, "_MIN_BYTES", 1000)
    hash_cache.store(state_of(path), DIGEST)
    assert not (tmp_path / "cache").exists()
