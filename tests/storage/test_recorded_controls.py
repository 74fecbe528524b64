"""ControlNets of records are found by their hash or by their name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from sdcli.checkpoints.file_hashes import sha256
from sdcli.errors import ModelError, UsageError
from sdcli.pipeline_spec import PipelineSpec
from sdcli.request import GenerationRequest
from sdcli.storage.metadata import recorded_controls
from sdcli.storage.metadata.recorded_controls import locate_controls

WEIGHTS = "diffusion_pytorch_model.safetensors"
FP16 = "diffusion_pytorch_model.fp16.safetensors"


def write(path: Path, seed: int, name: str = "controlnet_cond_embedding.conv_in.bias") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: np.full(4, seed, np.float32)}, path)
    return path


def write_folder(folder: Path, *names: str, model: str = "ControlNetModel") -> None:
    """Write a folder whose weights differ, even from those of another folder."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"_class_name": model}))
    for seed, name in enumerate(names):
        write(folder / name, seed + len(folder.name))


def locate(
    name: str, sha256: object, folder: Path, variant: str | None = None, **record: Any
) -> str | None:
    request = GenerationRequest(prompt="a", controlnet=name, spec=PipelineSpec(variant=variant))
    written = {
        "request": {"controlnet": name}, "controlnets": [{"sha256": sha256}], **record,
    }  # fmt: skip
    return locate_controls(request, written, [folder], lambda warning: None).controlnet


@pytest.mark.parametrize("name", ["edges", "gone"])
@pytest.mark.parametrize("inner", ["", "controlnet"])
@pytest.mark.parametrize(("variant", "file"), [(None, WEIGHTS), ("fp16", FP16)])
def test_the_weights_of_a_folder_are_those_that_were_used(
    tmp_path: Path, name: str, inner: str, variant: str | None, file: str
) -> None:
    folder = tmp_path / "edges" / inner
    write_folder(folder, WEIGHTS, FP16)
    digest = sha256(folder / file)
    assert locate(name, digest, tmp_path, variant) == str(tmp_path / "edges")


def test_only_controlnets_are_hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "text.safetensors").write_bytes(b"x" * 20)
    write(tmp_path / "lora.safetensors", 1, "a.lora_down.weight")
    write_folder(tmp_path / "vae", WEIGHTS, model="AutoencoderKL")
    wanted = write(tmp_path / "renamed.safetensors", 2)
    read: list[Path] = []
    monkeypatch.setattr(recorded_controls, "_hash", reading(read, recorded_controls._hash))
    assert locate("edges.safetensors", sha256(wanted), tmp_path) == str(wanted)
    assert read == [wanted]


def reading(
    read: list[Path], function: Callable[[Path, str | None], str | None]
) -> Callable[[Path, str | None], str | None]:
    """Note the paths that a function is called for."""

    def call(path: Path, variant: str | None) -> str | None:
        read.append(path)
        return function(path, variant)

    return call


def test_the_hub_comes_before_what_lies_about(tmp_path: Path) -> None:
    digest = sha256(write(tmp_path / "renamed.safetensors", 1))
    for name in ("someone/edges", "someone/all/edges.safetensors"):
        assert locate(name, digest, tmp_path) == name
    # A copy of that name is likely to be it, and needs no hub.
    (tmp_path / "renamed.safetensors").rename(tmp_path / "edges.safetensors")
    found = locate("someone/all/edges.safetensors", digest, tmp_path)
    assert found == str(tmp_path / "edges.safetensors")
    gone = str(tmp_path / "gone" / "edges")
    assert locate(gone, digest, tmp_path) == str(tmp_path / "edges.safetensors")
    with pytest.raises(ModelError, match="is not on this machine"):
        locate(gone, "0" * 64, tmp_path)


def test_a_path_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a;b" / "edges.safetensors", 1)
    with pytest.raises(UsageError, match="has ';', which separates"):
        locate(path.name, sha256(path), path.parent)


@pytest.mark.parametrize("entries", [5, "x", None, {}, [], [5], [{"sha256": 5}], [{}, {}]])
def test_a_record_without_a_hash_goes_by_the_name(tmp_path: Path, entries: Any) -> None:
    with pytest.raises(ModelError, match=r"the record's ControlNet 'edges\.safetensors' is not"):
        locate("edges.safetensors", "", tmp_path, controlnets=entries)
    path = write(tmp_path / "edges.safetensors", 1)
    assert locate("edges.safetensors", "", tmp_path, controlnets=entries) == str(path)
