"""Test that pipes, sockets, devices and folders are refused wherever a file is read."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from sdcli.errors import UsageError
from sdcli.inputs.regular_file import check_regular, is_open_stream, open_regular, special_kind

KINDS = {
    "pipe": "a named pipe",
    "socket": "a socket",
    "device": "a device",
    "folder": "a folder",
    "link": "a named pipe",
}


NOT_FOLDERS = [kind for kind in KINDS if kind != "folder"]


@pytest.fixture
def make(monkeypatch) -> Iterator[Callable[[str, Path], Path]]:
    """Return a function that makes something of a kind at a path."""
    with ExitStack() as sockets:

        def make_special(kind: str, path: Path) -> Path:
            path.parent.mkdir(parents=True, exist_ok=True)
            if kind == "pipe":
                os.mkfifo(path)
            elif kind == "socket":
                opened = sockets.enter_context(socket.socket(socket.AF_UNIX))
                with monkeypatch.context() as patch:
                    patch.chdir(path.parent)  # an address has at most 108 bytes
                    opened.bind(path.name)
            elif kind == "device":
                path.symlink_to("/dev/zero")
            elif kind == "folder":
                path.mkdir()
            else:
                os.mkfifo(path.with_suffix(".target"))
                path.symlink_to(path.with_suffix(".target"))
            return path

        yield make_special


@pytest.mark.parametrize("kind", KINDS)
def test_everything_but_a_file_is_refused(make, tmp_path, kind):
    path = make(kind, tmp_path / "x" / "a.txt")
    assert special_kind(path) == KINDS[kind]
    for function in (check_regular, open_regular):
        with pytest.raises(UsageError, match=f"{KINDS[kind]}, not a file"):
            function(path)


def test_files_are_read_and_missing_ones_are_named(tmp_path):
    (tmp_path / "a").write_bytes(b"x")
    with open_regular(tmp_path / "a") as file:
        assert file.read() == b"x"
    for name in ("none", "a/b", "a\0b"):
        with pytest.raises(UsageError, match="no file at"):
            check_regular(tmp_path / name)
        assert special_kind(tmp_path / name) is None


def test_only_open_pipes_are_streams(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader, writer = os.pipe()
    assert is_open_stream(f"/dev/fd/{reader}")
    assert not any(map(is_open_stream, [tmp_path / "pipe", "/dev/fd/999", "/dev/zero"]))
    os.close(reader)
    os.close(writer)


READERS = {
    "inspect": ("inspect", "{}/a.png"),
    "inspect as command": ("inspect", "{}/a.png", "--as-command"),
    "inspect latents": ("inspect", "{}/a.safetensors"),
    "replay": ("replay", "{}/a.png", "--check"),
    "batch": ("batch", "{}/a.txt", "-o", "out"),
    "batch csv": ("batch", "{}/a.csv", "--dry-run"),
    "latents info": ("latents", "info", "{}/a.safetensors"),
    "latents decode": ("latents", "decode", "{}/a.safetensors", "-o", "out.png"),
    "vae encode": ("vae", "encode", "{}/a.png", "-o", "out.safetensors"),
    "vae decode": ("vae", "decode", "{}/a.safetensors", "-o", "out.png"),
    "vae compare": ("vae", "compare", "{}/a.png", "-o", "out.png"),
}


@pytest.mark.parametrize("kind", NOT_FOLDERS)
@pytest.mark.parametrize("command", READERS)
def test_every_command_refuses_it_at_once(run_cli, make, tmp_path, command, kind):
    *_, suffix = next(word for word in READERS[command] if "{}" in word).rpartition(".")
    make(kind, tmp_path / "x" / f"a.{suffix}")
    ran = run_cli(*(word.format(tmp_path / "x") for word in READERS[command]))
    assert ran.code == 2
    assert KINDS[kind] in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("kind", NOT_FOLDERS)
@pytest.mark.parametrize(
    "name", ["model_index.json", "unet/config.json", "tokenizer/vocab.json", "vae/x.safetensors"]
)
def test_a_model_s_files_are_files(run_cli, make, tmp_path, name, kind):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model_index.json").write_bytes((EMBEDDED_FOLDER / "model_index.json").read_bytes())
    (folder / name).unlink(missing_ok=True)
    make(kind, folder / name)
    ran = run_cli("inspect", str(folder))
    assert (ran.code, ran.stderr.count(f"{name} is {KINDS[kind]}, not a file")) == (3, 1)
    assert run_cli("inspect", str(folder / name)).code in (2, 3)


def test_settings_and_wildcards_are_files(run_cli):
    os.mkfifo("sdcli.toml")
    ran = run_cli("batch", "x.txt")
    assert (ran.code, ran.stderr.count("sdcli.toml is a named pipe")) == (2, 1)
    os.unlink("sdcli.toml")
    os.symlink("/dev/null", "sdcli.toml")  # the customary way to have no settings
    ran = run_cli("batch", "x.txt")
    assert "sdcli.toml" not in ran.stderr
    Path("lists").mkdir()
    os.mkfifo("lists/color.txt")
    ran = run_cli("generate", "a __color__ cat", "--wildcards", "lists")
    assert (ran.code, ran.stderr.count("color.txt is a named pipe")) == (2, 1)
