"""Hashes that the hub, or a file beside a file, give of it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from sdcli.checkpoints import hash_cache
from sdcli.checkpoints.file_hashes import (
    earlier_hash,
    given_hashes,
    hash_again,
    sha256,
    verified_sha256,
)
from sdcli.checkpoints.weight_files import WeightFiles
from sdcli.checkpoints.weights import WeightHashes
from sdcli.errors import CorruptError

DATA, DAMAGED = b"one", b"onf"
RIGHT = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "m.safetensors"
    path.write_bytes(DATA)
    return path


def blob(folder: Path, data: bytes) -> Path:
    """A file of the Hugging Face cache, which is a link to a file that is named by the hash."""
    target = folder / "models--owner--name" / "blobs" / RIGHT
    target.parent.mkdir(parents=True)
    target.write_bytes(data)
    link = folder / "linked.safetensors"
    link.symlink_to(target)
    return link


@pytest.mark.parametrize("name", ["m.safetensors.sha256", "m.sha256"])
@pytest.mark.parametrize(
    ("text", "is_found"),
    [
        (RIGHT, True),
        (f"{RIGHT.upper()}\n", True),
        (f"{RIGHT}  m.safetensors\n", True),
        (f"{RIGHT} *m.safetensors\r\n", True),
        (f"{RIGHT}  ./folder/m.safetensors\n", True),
        (f"{'0' * 64}  other.safetensors\n{RIGHT}  m.safetensors\n", True),
        (f"SHA256 (m.safetensors) = {RIGHT}\n", True),
        (f"\ufeff{RIGHT}", True),
        (f"{RIGHT}  other.safetensors\n", False),
        (f"SHA256 (other.safetensors) = {RIGHT}\n", False),
        (RIGHT[:-1], False),
        ("", False),
        ("<html>", False),
        ("\udcff", False),
        (" " * (1 << 17) + RIGHT, False),
    ],
)
def test_the_forms_of_a_file_with_a_hash(file: Path, name: str, text: str, is_found: bool) -> None:
    (file.parent / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    assert [given.sha256 for given in given_hashes(file)] == [RIGHT] * is_found


def test_a_file_without_a_given_hash_is_taken_as_it_is(file: Path) -> None:
    (file.parent / "m.safetensors.sha256").mkdir()
    file.write_bytes(DAMAGED)
    assert verified_sha256("unet", file) == hashlib.sha256(DAMAGED).hexdigest()


def test_another_hash_than_the_given_one_is_an_error(file: Path) -> None:
    sidecar = file.with_name("m.safetensors.sha256")
    sidecar.write_text(RIGHT)
    assert verified_sha256("unet", file) == RIGHT
    file.write_bytes(DAMAGED)
    os.utime(file, (1, 1))
    with pytest.raises(
        CorruptError, match=r"^unet: .* is damaged: .* m\.safetensors\.sha256 says"
    ) as caught:
        verified_sha256("unet", file)
    assert "and m.safetensors.sha256 says" in caught.value.message
    assert "delete m.safetensors.sha256" in (caught.value.hint or "")
    hashes = WeightHashes({"unet": WeightFiles(path=file, files=(file,))})
    with pytest.raises(CorruptError, match="is damaged"):
        hashes.result()


def test_the_hub_names_files_by_their_hashes(tmp_path: Path) -> None:
    link = blob(tmp_path, DATA)
    assert verified_sha256("vae", link) == RIGHT
    link.resolve().write_bytes(DAMAGED)
    os.utime(link, (1, 1))
    # To find a model by its hash, the name is enough.
    assert sha256(link) == RIGHT
    with pytest.raises(CorruptError, match="and the hub says") as caught:
        verified_sha256("vae", link)
    assert caught.value.hint == "sdcli models rm owner/name, then sdcli models pull owner/name"


@pytest.mark.parametrize("has_sidecar", [False, True])
def test_a_changed_file_with_its_old_time_is_found_by_reading_it(
    file: Path, monkeypatch: pytest.MonkeyPatch, has_sidecar: bool
) -> None:
    monkeypatch.setattr(hash_cache, "_MIN_BYTES", 1)
    if has_sidecar:
        file.with_name("m.safetensors.sha256").write_text(RIGHT)
    stat = file.stat()
    assert verified_sha256("unet", file) == RIGHT
    with file.open("r+b") as opened:
        opened.write(DAMAGED)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    # A draw does not read the file again only to hash it.
    assert verified_sha256("unet", file) == earlier_hash(file) == RIGHT
    wrong = hashlib.sha256(DAMAGED).hexdigest()
    assert hash_again(file) == wrong
    # The earlier hash stays, as long as it is the only one that tells.
    assert earlier_hash(file) == (wrong if has_sidecar else RIGHT)
