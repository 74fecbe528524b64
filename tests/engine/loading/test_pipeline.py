"""Every kind of damage to a model is an error that names the component."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from sdcli import engine
from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from sdcli.engine.runtime import devices
from sdcli.errors import CorruptError, ModelError, SdcliError, UnsafeError
from sdcli.pipeline_spec import PipelineSpec
from tests.jobs import make_job

WEIGHTS = {
    "unet": "unet/diffusion_pytorch_model.safetensors",
    "vae": "vae/diffusion_pytorch_model.safetensors",
    "text_encoder": "text_encoder/model.safetensors",
}
INDEX = json.loads((EMBEDDED_FOLDER / "model_index.json").read_text())

Copy = Callable[[], Path]


def load(folder: Path | str, **changes: Any) -> Any:
    return engine.load(PipelineSpec(**{"model": str(folder), "device": "cpu", **changes}))


def rewrite(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def edit(path: Path, changes: Mapping[str, object]) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_all_components_load_in_the_requested_dtype() -> None:
    loaded = load(EMBEDDED_FOLDER, dtype="bfloat16")
    pipeline = loaded.pipeline
    components = (pipeline.unet, pipeline.vae, pipeline.text_encoder)
    assert {component.dtype for component in components} == {torch.bfloat16}
    [result] = engine.generate_batch(loaded, [make_job(spec=loaded.spec)], save_latents="final")
    assert result.run.dtype == "bfloat16"
    assert result.pixels.std() > 0
    assert result.latents is not None
    assert result.latents["final"].dtype == np.float32
    assert loaded.seconds["load"] > 0


def test_the_size_of_the_unet_decides_on_the_dtype(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True}, raising=False)
    size = (EMBEDDED_FOLDER / WEIGHTS["unet"]).stat().st_size
    for limit, expected in ((size, torch.bfloat16), (size + 1, torch.float32)):
        monkeypatch.setattr(devices, "LARGE_UNET_BYTES", limit)
        loaded = load(EMBEDDED_FOLDER)
        assert loaded.dtype == loaded.pipeline.unet.dtype == expected


def test_weights_are_hashed(loaded: Any) -> None:
    import hashlib

    [result] = engine.generate_batch(loaded, [make_job()])
    assert dict(result.weights) == {
        part: hashlib.sha256((EMBEDDED_FOLDER / path).read_bytes()).hexdigest()
        for part, path in WEIGHTS.items()
    }


@pytest.mark.parametrize("part", WEIGHTS)
@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_truncated_weights(model_copy: Copy, part: str, keep: int) -> None:
    folder = model_copy()
    path = folder / WEIGHTS[part]
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CorruptError, match=WEIGHTS[part]) as caught:
        load(folder)
    assert caught.value.exit_code == 7


@pytest.mark.parametrize("part", WEIGHTS)
def test_a_missing_tensor(model_copy: Copy, part: str) -> None:
    """Diffusers leaves it on the meta device, and Transformers initialises it at random."""
    folder = model_copy()
    missing = sorted(load_file(folder / WEIGHTS[part]))[3]
    rewrite(folder / WEIGHTS[part], lambda tensors: tensors.pop(missing))
    with pytest.raises(CorruptError, match="lacks") as caught:
        load(folder)
    assert part in caught.value.message
    assert not torch.empty(1).is_meta


@pytest.mark.parametrize("part", WEIGHTS)
def test_a_tensor_of_another_shape(model_copy: Copy, part: str) -> None:
    folder = model_copy()

    def shrink(tensors: dict[str, Any]) -> None:
        name = max(tensors, key=lambda name: tensors[name].size)
        tensors[name] = np.ascontiguousarray(tensors[name][:-1])

    rewrite(folder / WEIGHTS[part], shrink)
    with pytest.raises(CorruptError) as caught:
        load(folder)
    assert caught.value.message.startswith(part)


def test_garbage_in_a_header_and_a_git_lfs_pointer(model_copy: Copy) -> None:
    folder = model_copy()
    path = folder / WEIGHTS["unet"]
    path.write_bytes(struct.pack("<Q", 9) + b"not json!" + b"data")
    with pytest.raises(CorruptError, match="header"):
        load(folder)
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n")
    with pytest.raises(CorruptError, match="LFS") as caught:
        load(folder)
    assert "git lfs pull" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("file", "content", "error"),
    [
        ("model_index.json", "{", CorruptError),
        ("unet/config.json", "[]", CorruptError),
        ("vae/config.json", None, ModelError),
        ("model_index.json", None, ModelError),
        ("model_index.json", '{"_class_name": "FluxPipeline"}', ModelError),
        ("tokenizer/tokenizer.json", "{", CorruptError),
        (WEIGHTS["unet"], None, ModelError),
        (
            "model_index.json",
            json.dumps({**INDEX, "scheduler": ["diffusers", "os"]}),
            ModelError,
        ),
    ],
)
def test_broken_and_missing_files(
    model_copy: Copy, file: str, content: str | None, error: type[SdcliError]
) -> None:
    folder = model_copy()
    (folder / file).unlink()
    if content is not None:
        (folder / file).write_text(content)
    with pytest.raises(error):
        load(folder)


def test_pickles_are_refused(model_copy: Copy, tmp_path: Path) -> None:
    folder = model_copy()
    path = folder / WEIGHTS["unet"]
    path.rename(path.with_suffix(".bin"))
    with pytest.raises(UnsafeError, match="unet"):
        load(folder)
    checkpoint = tmp_path / "model.ckpt"
    checkpoint.touch()
    with pytest.raises(UnsafeError):
        load(checkpoint)


def test_a_model_that_only_has_a_variant_loads_without_naming_it(model_copy: Copy) -> None:
    folder = model_copy()
    for path in WEIGHTS.values():
        (folder / path).rename((folder / path).with_suffix(".fp16.safetensors"))
    load(folder)
    load(folder, variant="fp16")
    with pytest.raises(ModelError, match="bf16"):
        load(folder, variant="bf16")


def test_the_vae_must_fit_the_model(model_copy: Copy, tmp_path: Path) -> None:
    vae = Path(shutil.copytree(EMBEDDED_FOLDER / "vae", tmp_path / "other"))
    edit(vae / "config.json", {"latent_channels": 16})
    with pytest.raises(ModelError, match="16 latent channels"):
        load(EMBEDDED_FOLDER, vae=str(vae))
    edit(vae / "config.json", {"latent_channels": 4, "scaling_factor": 0.5})
    with pytest.raises(ModelError, match=r"scaling factor is 0\.5") as caught:
        load(EMBEDDED_FOLDER, vae=str(vae))
    assert "--force-vae" in (caught.value.hint or "")
    forced = load(EMBEDDED_FOLDER, vae=str(vae), force_vae=True)
    assert "scaling factor is 0.5" in forced.notes[-1]
    [result] = engine.generate_batch(forced, [make_job(spec=forced.spec)])
    assert forced.notes[-1] in result.events
    edit(vae / "config.json", {"_class_name": "AutoencoderDC"})
    with pytest.raises(ModelError, match="AutoencoderDC"):
        load(EMBEDDED_FOLDER, vae=str(vae))
    folder = model_copy()
    shutil.rmtree(folder / "vae_tiny")
    with pytest.raises(ModelError, match="small VAE"):
        load(folder, vae="tiny")


def test_an_outdated_scheduler_file_is_corrected_without_a_warning(model_copy: Copy) -> None:
    folder = model_copy()
    edit(folder / "scheduler/scheduler_config.json", {"steps_offset": 0, "clip_sample": True})
    loaded = load(folder)
    [result] = engine.generate_batch(loaded, [make_job(spec=loaded.spec)])
    assert result.run.scheduler_config["steps_offset"] == 1
    assert result.run.scheduler_config["clip_sample"] is False


def test_a_model_as_the_vae_means_its_vae() -> None:
    load(EMBEDDED_FOLDER, vae=str(EMBEDDED_FOLDER))


def test_loading_like_another_pipeline_shares_everything_but_the_vae(loaded: Any) -> None:
    other = engine.load(PipelineSpec(device="cpu", dtype="float32", vae="tiny"), like=loaded)
    assert other.pipeline.unet is loaded.pipeline.unet
    assert other.pipeline.text_encoder is loaded.pipeline.text_encoder
    assert other.base_scheduler is loaded.base_scheduler
    assert type(other.pipeline.vae).__name__ == "AutoencoderTiny"
    fresh = engine.load(other.spec)
    job = make_job(spec=other.spec)
    [shared], [expected] = (engine.generate_batch(p, [job]) for p in (other, fresh))
    assert np.array_equal(shared.pixels, expected.pixels)
