"""Finding models and VAEs at local paths."""

from __future__ import annotations

from pathlib import Path

import pytest

from sdcli.checkpoints.hub import fetch_model
from sdcli.checkpoints.locate import Kind, find_local, find_tiny_vae, not_found_error
from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from sdcli.errors import ModelError, UnsafeError
from sdcli.pipeline_spec import EMBEDDED, PipelineSpec


@pytest.mark.parametrize("kind", ["model", "VAE"])
def test_a_folder_is_found(tmp_path: Path, kind) -> None:
    assert find_local(str(tmp_path), kind) == tmp_path
    assert find_local(str(tmp_path / "missing"), kind) is None


def test_the_home_folder_can_be_written_as_a_tilde(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "model").mkdir()
    assert find_local("~/model", "model") == tmp_path / "model"


@pytest.mark.parametrize("kind", ["model", "VAE"])
def test_a_file_must_be_safetensors(tmp_path: Path, kind: Kind) -> None:
    path, other = tmp_path / "a.safetensors", tmp_path / "a.txt"
    path.touch()
    other.touch()
    assert find_local(str(path), kind) == path
    with pytest.raises(ModelError, match=r"not a \.safetensors file") as caught:
        find_local(str(other), kind)
    assert caught.value.code == "model.not_a_folder"


@pytest.mark.parametrize("kind", ["model", "VAE", "text encoder"])
def test_the_hint_names_all_that_is_usable(kind: Kind) -> None:
    hint = not_found_error("./nowhere", kind).hint
    assert hint
    assert "a folder, a .safetensors file, a Hugging Face id" in hint


@pytest.mark.parametrize("kind", ["model", "VAE"])
@pytest.mark.parametrize("suffix", [".ckpt", ".pt", ".pth", ".bin"])
def test_pickles_are_refused(tmp_path: Path, kind, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.touch()
    with pytest.raises(UnsafeError) as caught:
        find_local(str(path), kind)
    assert caught.value.code == "model.pickle"


@pytest.mark.parametrize(
    "name", ["./nowhere", "/abs/missing", "nonsense", "a/b/c", "~/none", "a/b.safetensors"]
)
def test_a_missing_model_is_reported_with_a_hint(name: str) -> None:
    with pytest.raises(ModelError) as caught:
        fetch_model(PipelineSpec(model=name))
    assert caught.value.code == "model.not_found"
    assert caught.value.hint


@pytest.mark.parametrize(
    ("name", "kind", "suggestion"),
    [("tinyy", "VAE", "tiny"), ("taesdx", "VAE", "taesd"), (f"{EMBEDDED}x", "model", EMBEDDED)],
)
def test_a_misspelled_name_gets_a_suggestion(name: str, kind, suggestion: str) -> None:
    assert suggestion in (not_found_error(name, kind).hint or "")


def test_the_small_vae_is_optional(tmp_path: Path) -> None:
    assert find_tiny_vae("embedded", EMBEDDED_FOLDER) == EMBEDDED_FOLDER / "vae_tiny"
    with pytest.raises(ModelError, match="does not include a small VAE") as caught:
        find_tiny_vae("some/model", tmp_path)
    assert caught.value.code == "model.no_tiny_vae"
