"""`sdcli models`: the cache and folders of files, listed, found, checked and deleted."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sdcli.checkpoints import hash_cache
from sdcli.checkpoints.adapters.embedded_addons import EMBEDDED_LORAS
from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from tests.checkpoints.hub_server import COMMIT, REPO, etag, read_files
from tests.conftest import RunCli
from tests.terminals import run_sdcli

UNET = "unet/diffusion_pytorch_model.safetensors"


def fill_cache(cache: Path, repo: str = REPO) -> Path:
    """A download of the embedded model, as huggingface_hub lays it out."""
    home = cache / f"models--{repo.replace('/', '--')}"
    snapshot = home / "snapshots" / COMMIT
    for name, data in read_files(EMBEDDED_FOLDER).items():
        blob = home / "blobs" / etag(name, data)
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(data)
        (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / name).symlink_to(os.path.relpath(blob, (snapshot / name).parent))
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(COMMIT)
    return snapshot


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with single files, one of them in a folder, and a model in Diffusers' layout."""
    folder = tmp_path / "checkpoints"
    (folder / "old").mkdir(parents=True)
    save_file({"emb_params": torch.zeros(4, 768)}, folder / "style.safetensors")
    torch.save({"emb_params": torch.zeros(4, 768)}, folder / "old" / "style-1.pt")
    (folder / "notes.txt").write_text("x")
    save_file({"final": torch.zeros(4, 8, 8)}, folder / "a.latents.safetensors")
    shutil.copytree(EMBEDDED_FOLDER, folder / "tiny")
    return folder


def test_list_shows_the_cache_and_the_files_with_sizes(
    run_cli: RunCli, tmp_path: Path, files: Path
) -> None:
    assert run_cli("models", "list").code == 0
    snapshot = fill_cache(tmp_path / "cache")
    document = run_cli("models", "list", "--models-dir", str(files), "--json").document
    rows = {row["name"]: row for row in document["models"]}
    assert list(rows) == [REPO, "old/style-1.pt", "style.safetensors"]
    assert rows[REPO]["path"] == str(snapshot)
    total = sum(path.stat().st_size for path in (snapshot.parents[1] / "blobs").iterdir())
    assert rows[REPO]["bytes"] == total
    assert rows["style.safetensors"]["bytes"] == (files / "style.safetensors").stat().st_size
    ran = run_cli("models", "list", "--models-dir", str(files))
    assert [line.split("  ")[0] for line in ran.stdout.splitlines()[1:]] == list(rows)
    assert "3 models" in ran.stderr


def test_the_folders_can_be_set_in_sdcli_toml(run_cli: RunCli, tmp_path: Path, files: Path) -> None:
    (tmp_path / "sdcli.toml").write_text(f"models_dir = ['{files}']")
    assert run_cli("models", "path", "style").stdout == f"{files / 'style.safetensors'}\n"
    (tmp_path / "sdcli.toml").write_text("models_dir = ['nowhere']")
    ran = run_cli("models", "list")
    assert (ran.code, "no folder at nowhere" in ran.stderr) == (2, True)


def test_path_finds_ids_and_files_by_their_names(
    run_cli: RunCli, tmp_path: Path, files: Path
) -> None:
    snapshot = fill_cache(tmp_path / "cache")
    folder = ("--models-dir", str(files))
    assert run_cli("models", "path", REPO).stdout == f"{snapshot}\n"
    for name in ("old/style-1.pt", "old/style-1", "style-1.pt", "style-1"):
        assert run_cli("models", "path", name, *folder).stdout == f"{files / 'old/style-1.pt'}\n"
    for name, hint in (("someone/emojo", f"did you mean {REPO}?"), ("zzz", "sdcli models list")):
        ran = run_cli("models", "path", name, *folder)
        assert (ran.code, hint in ran.stderr) == (3, True)
    for path in (files / "style.safetensors", files / "tiny"):
        assert run_cli("models", "path", str(path)).stdout == f"{path}\n"
    assert run_cli("models", "path", "embedded").stdout == f"{EMBEDDED_FOLDER}\n"
    shutil.copy(files / "style.safetensors", files / "old")
    ran = run_cli("models", "path", "style", *folder)
    assert (ran.code, "several files" in ran.stderr) == (3, True)


def test_verify_compares_with_the_hashes_of_the_hub(run_cli: RunCli, tmp_path: Path) -> None:
    snapshot = fill_cache(tmp_path / "cache")
    ran = run_cli("models", "verify")
    assert ran.code == 0
    assert all(line.startswith("ok ") for line in ran.stdout.splitlines())
    assert len(ran.stdout.splitlines()) == len(read_files(EMBEDDED_FOLDER))
    for name in (UNET, "tokenizer/vocab.json"):
        blob = (snapshot / name).resolve()
        data = blob.read_bytes()
        blob.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        ran = run_cli("models", "verify", REPO, "--json")
        assert ran.code == 7
        damaged = [f for f in json_lines(ran.stdout)[0]["files"] if f["problem"]]
        assert [f["file"] for f in damaged] == [name]
        assert "hash" in damaged[0]["problem"]
        blob.write_bytes(data)
    (snapshot / UNET).resolve().unlink()
    assert run_cli("models", "verify", REPO).code in (3, 7)


def json_lines(text: str) -> list[dict[str, list[dict[str, str]]]]:
    import json

    return [json.loads(line) for line in text.splitlines()]


def test_verify_checks_single_files(run_cli: RunCli, files: Path) -> None:
    folder = ("--models-dir", str(files))
    assert run_cli("models", "verify", *folder).code == 0
    path = files / "style.safetensors"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    for part in (digest, digest[:10], digest.upper()):
        assert run_cli("models", "verify", str(path), "--sha256", part).code == 0
    assert run_cli("models", "verify", "style", *folder, "--sha256", "0" * 64).code == 7
    for wrong in ("xyz", "12", ""):
        assert run_cli("models", "verify", str(path), "--sha256", wrong).code == 2
    assert run_cli("models", "verify", *folder, "--sha256", digest).code == 2
    for name in ("style.safetensors", "old/style-1.pt"):
        data = (files / name).read_bytes()
        (files / name).write_bytes(data[:-9])
        ran = run_cli("models", "verify", *folder)
        damaged = [line for line in ran.stdout.splitlines() if line.startswith("failed")]
        assert (ran.code, len(damaged)) == (7, 1)
        (files / name).write_bytes(data)
    assert run_cli("models", "verify", str(files / "tiny")).code == 3


def test_verify_says_what_it_compared_with(
    run_cli: RunCli, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hash_cache, "_MIN_BYTES", 1)
    path = files / "style.safetensors"
    digest, stat = hashlib.sha256(path.read_bytes()).hexdigest(), path.stat()
    assert run_cli("models", "verify", str(path)).stdout.startswith("complete ")
    # The first reading is known to the second one.
    assert run_cli("models", "verify", str(path)).stdout.startswith("ok ")
    flip(path)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    for _ in range(2):
        ran = run_cli("models", "verify", str(path))
        assert (ran.code, "size and time have not changed" in ran.stdout) == (7, True)
    sidecar = files / "style.safetensors.sha256"
    for text in ("0" * 64, f"{digest}  style.safetensors"):
        sidecar.write_text(text)
        assert run_cli("models", "verify", str(path)).code == 7
    flip(path)
    sidecar.write_text(digest)
    [checked] = run_cli("models", "verify", str(path), "--json").document["files"]
    assert (checked["problem"], checked["compared_with"]) == (None, [sidecar.name])


def flip(path: Path) -> None:
    """Change the last byte of a file."""
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


@pytest.mark.sample(1)
@pytest.mark.parametrize("name", ["unet", "vae", "text_encoder"])
def test_a_changed_number_ends_a_run_where_a_hash_is_known(
    run_cli: RunCli, files: Path, tmp_path: Path, name: str
) -> None:
    run = ("generate", "a cat", "--size", "64x64", "--steps", "1", "--device", "cpu", "-q")
    snapshot = fill_cache(tmp_path / "cache")
    for folder, model in ((files / "tiny", str(files / "tiny")), (snapshot, REPO)):
        [path] = (folder / name).glob("*.safetensors")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        flip(path.resolve())
        if model != REPO:
            # Without a hash, the changed model is a model like any other.
            assert run_cli(*run, "-m", model, "--offline", "-o", "a.png").code == 0
            (tmp_path / "a.png").unlink()
            path.with_name(f"{path.name}.sha256").write_text(f"{digest}  {path.name}\n")
        ran = run_cli(*run, "-m", model, "--offline", "-o", "b.png")
        assert ran.code == 7
        assert f"{name}: {path} is damaged" in ran.stderr
        assert not (tmp_path / "b.png").exists()


def test_rm_deletes_only_what_it_is_told(run_cli: RunCli, tmp_path: Path, files: Path) -> None:
    kept, gone = fill_cache(tmp_path / "cache", "a/kept"), fill_cache(tmp_path / "cache", "a/gone")
    ran = run_cli("models", "rm", "a/gone")
    assert (ran.code, "add --yes" in ran.stderr, gone.exists()) == (2, True, True)
    ran = run_cli("models", "rm", "a/gone", "a/other", "--yes")
    assert (ran.code, gone.exists()) == (3, True)
    for name in (str(files), "style.safetensors", "embedded", "../cache", ""):
        assert run_cli("models", "rm", name, "--yes").code == 3
    ran = run_cli("models", "rm", "a/gone", "a/gone", "--yes", "--json")
    assert ran.code == 0, ran.stdout
    assert (ran.code, ran.document["models"], gone.exists()) == (0, ["a/gone"], False)
    assert ran.document["bytes"] > 1_000_000
    assert kept.exists()
    assert (files / "style.safetensors").exists()
    assert run_cli("models", "path", "a/gone").code == 3


@pytest.mark.parametrize(("answer", "code"), [("n\n", 2), ("\n", 2), ("y\n", 0), ("Yes\n", 0)])
def test_rm_asks_on_a_terminal(answer: str, code: int, tmp_path: Path) -> None:
    snapshot = fill_cache(tmp_path / "cache")
    cache = {"HF_HUB_CACHE": str(tmp_path / "cache")}
    ran, shown = run_sdcli("models", "rm", REPO, keys=answer, env=cache)
    assert "delete someone/emoji" in shown
    assert (ran, snapshot.exists()) == (code, code != 0)


def test_a_damaged_cache_is_no_traceback(run_cli: RunCli, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "models--a--b").write_text("a file")
    (cache / "models--c--d" / "snapshots").mkdir(parents=True)
    (cache / "something").mkdir()
    for verb in ("list", "verify"):
        ran = run_cli("models", verb)
        assert ran.code == 0, ran.stderr
    shutil.rmtree(cache)
    cache.write_text("a file")
    assert run_cli("models", "list").code == 0
    assert run_cli("models", "rm", "a/b", "--yes").code == 3


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (
            ("https://huggingface.co/a/b/blob/main/c.safetensors", "--file", "d.safetensors"),
            "--file has no effect with the address of a file",
        ),
        (
            ("https://huggingface.co/a/b/blob/main/c.safetensors", "--variant", "fp16"),
            "--variant has no effect on a single file",
        ),
        (("a/b", "--file", "c.safetensors", "--variant", "fp16"), "--variant has no effect on"),
    ],
)
def test_options_of_pull_that_would_be_ignored(
    argv: tuple[str, ...], words: str, run_cli: RunCli
) -> None:
    ran = run_cli("models", "pull", *argv)
    assert (ran.code, words in ran.stderr) == (2, True)


@pytest.mark.parametrize(
    "name", ["nonsense", "a/b/c", "a--b/c", "a..b/c", "-a/b", "a/b.git", "é/x"]
)
def test_names_that_the_hub_cannot_have(name: str, run_cli: RunCli) -> None:
    ran = run_cli("models", "pull", "--", name)
    assert (ran.code, "is not a Hugging Face id" in ran.stderr) == (2, True)
    assert run_cli("generate", "a cat", f"--model={name}").code == 3


@pytest.mark.parametrize(
    ("argv", "code", "hint"),
    [
        (("pull", "embedded"), 2, "there is nothing to download"),
        (("rm", "embedded", "--yes"), 3, "part of sdcli and never in the cache"),
        (("rm", "embedded:fast", "--yes"), 3, "part of sdcli and never in the cache"),
        (("pull", "embedded:layout"), 2, "there is nothing to download"),
        (("verify", "embedded"), 3, "sdcli doctor shows whether it is complete"),
        (("path", "embeded"), 3, "did you mean embedded?"),
        (("path", "Flag"), 3, "did you mean embedded:flag?"),
        (("path", "embedded:flg"), 3, "did you mean embedded:flag?"),
    ],
)
def test_the_embedded_model_is_answered_by_name(
    argv: tuple[str, ...], code: int, hint: str, run_cli: RunCli
) -> None:
    ran = run_cli("models", *argv)
    assert (ran.code, hint in ran.stderr) == (code, True), ran.stderr


def test_the_lora_of_the_embedded_model_is_a_file(run_cli: RunCli) -> None:
    flag = EMBEDDED_LORAS / "flag.safetensors"
    assert run_cli("models", "path", "embedded:flag").stdout == f"{flag}\n"
    shown = run_cli("inspect", "embedded:flag", "--json").document
    assert shown == run_cli("inspect", str(flag), "--json").document
    assert (shown["kind"], shown["addon"]["trigger_words"]) == ("lora", ["a flag"])
    assert run_cli("models", "verify", "embedded:flag").code == 0


def test_convert_makes_the_folder_of_the_new_file(run_cli: RunCli) -> None:
    torch.save({"emb_params": torch.ones(1, 768)}, "a.pt")
    ran = run_cli("models", "convert", "a.pt", "new/folder/a.safetensors")
    assert (ran.code, ran.paths) == (0, [Path("new/folder/a.safetensors")]), ran.stderr
    assert ran.paths[0].is_file()
    assert run_cli("models", "convert", "a.pt", "a.pt/b.safetensors").code == 5
