"""VAEs other than the model's: single files, the consistency decoder, and mismatches."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, ConsistencyDecoderVAE, StableDiffusionPipeline
from safetensors.torch import save_file

from sdcli import engine
from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from sdcli.checkpoints.vae_selection import select_vae
from sdcli.engine.loading.vae import load_vae
from sdcli.engine.vae.roundtrip import decode_array
from sdcli.errors import CorruptError, ModelError, UnsafeError
from sdcli.pipeline_spec import PipelineSpec
from tests.jobs import CPU, make_job

LEVELS = 4


def ldm_name(name: str) -> str:
    """Return the name that Stable Diffusion 1 gave to a tensor of AutoencoderKL."""
    rules: list[tuple[str, str | Callable[[Any], str]]] = [
        (r"down_blocks\.(\d)\.resnets\.(\d)", r"down.\1.block.\2"),
        (r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample"),
        (r"up_blocks\.(\d)\.resnets\.(\d)", lambda m: f"up.{LEVELS - 1 - int(m[1])}.block.{m[2]}"),
        (r"up_blocks\.(\d)\.upsamplers\.0", lambda m: f"up.{LEVELS - 1 - int(m[1])}.upsample"),
        (r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}"),
        (r"mid_block\.attentions\.0\.group_norm", "mid.attn_1.norm"),
        (r"mid_block\.attentions\.0\.to_([qkv])", r"mid.attn_1.\1"),
        (r"mid_block\.attentions\.0\.to_out\.0", "mid.attn_1.proj_out"),
        ("conv_norm_out", "norm_out"),
        ("conv_shortcut", "nin_shortcut"),
    ]
    for pattern, new in rules:
        name = re.sub(pattern, new, name)
    return name


def to_ldm(vae: Any, prefix: str = "") -> dict[str, torch.Tensor]:
    tensors = {}
    for name, value in vae.state_dict().items():
        old = ldm_name(name)
        square = "attn_1" in old and "norm" not in old and old.endswith("weight")
        tensors[prefix + old] = value[..., None, None].clone() if square else value.clone()
    return tensors


@pytest.fixture(scope="module")
def random_vae() -> Any:
    torch.manual_seed(0)
    return AutoencoderKL(
        block_out_channels=(32, 32, 64, 64),
        down_block_types=("DownEncoderBlock2D",) * LEVELS,
        up_block_types=("UpDecoderBlock2D",) * LEVELS,
        layers_per_block=2,
        scaling_factor=1.0,
    ).eval()


LATENTS = np.random.default_rng(0).standard_normal((4, 8, 8)).astype(np.float32)


def decode_with_diffusers(vae: Any) -> np.ndarray:
    with torch.no_grad():
        image = vae.decode(torch.from_numpy(LATENTS)[None] / vae.config.scaling_factor).sample
    return ((image / 2 + 0.5).clamp(0, 1) * 255).round()[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize("prefix", ["", "first_stage_model."])
def test_a_single_file_in_the_original_layout_loads(
    tmp_path: Path, random_vae: Any, prefix: str
) -> None:
    path = tmp_path / "vae.safetensors"
    save_file(to_ldm(random_vae, prefix) | {"model_ema.decay": torch.zeros(1)}, path)
    loaded = load_vae(PipelineSpec(vae=str(path), device="cpu", offline=True))
    for name, value in random_vae.state_dict().items():
        assert torch.equal(loaded.vae.state_dict()[name], value), name
    assert np.array_equal(decode_array(loaded, LATENTS).pixels, decode_with_diffusers(random_vae))
    assert "1 is assumed" in loaded.notes[0]


@pytest.mark.parametrize("layout", ["old", "diffusers"])
def test_the_model_s_own_vae_loads_equally_from_a_single_file(tmp_path: Path, layout: str) -> None:
    own = load_vae(CPU)
    tensors = to_ldm(own.vae) if layout == "old" else own.vae.state_dict()
    save_file(tensors, tmp_path / "own.safetensors")
    file = load_vae(replace(CPU, vae=str(tmp_path / "own.safetensors")))
    assert np.array_equal(decode_array(file, LATENTS).pixels, decode_array(own, LATENTS).pixels)


def test_a_damaged_or_unknown_single_file_is_an_error(tmp_path: Path, random_vae: Any) -> None:
    whole = to_ldm(random_vae)
    path = tmp_path / "vae.safetensors"
    save_file({n: v for n, v in whole.items() if n != "decoder.mid.block_1.conv1.bias"}, path)
    with pytest.raises(CorruptError, match="lacks"):
        load_vae(PipelineSpec(vae=str(path), device="cpu"))
    save_file(whole, path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CorruptError):
        load_vae(PipelineSpec(vae=str(path), device="cpu"))
    save_file({"1.weight": torch.zeros(3)}, path)
    with pytest.raises(ModelError, match="layout") as caught:
        load_vae(PipelineSpec(vae=str(path), device="cpu"))
    assert caught.value.exit_code == 3
    save_file(whole, tmp_path / "sdxl_vae.safetensors")
    with pytest.raises(ModelError, match=r"0\.13025.*washed out"):
        load_vae(PipelineSpec(vae=str(tmp_path / "sdxl_vae.safetensors"), device="cpu"))


@pytest.mark.parametrize("suffix", [".ckpt", ".pt", ".bin"])
def test_pickles_are_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"vae{suffix}"
    path.touch()
    with pytest.raises(UnsafeError) as caught:
        load_vae(PipelineSpec(vae=str(path), device="cpu"))
    assert caught.value.exit_code == 6


def changed_vae(tmp_path: Path, **changes: Any) -> Path:
    """Return a copy of the embedded VAE whose configuration has the changes."""
    folder = tmp_path / "other"
    folder.mkdir(exist_ok=True)
    for file in (EMBEDDED_FOLDER / "vae").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))
    return folder


def test_force_vae_accepts_another_scaling_factor_and_nothing_else(tmp_path: Path) -> None:
    spec = PipelineSpec(vae=str(changed_vae(tmp_path, scaling_factor=0.13025)), device="cpu")
    with pytest.raises(ModelError, match="scaling factor"):
        select_vae(spec, EMBEDDED_FOLDER)
    facts, notes = select_vae(replace(spec, force_vae=True), EMBEDDED_FOLDER)
    assert facts.scaling_factor == 0.13025
    assert "--force-vae" in notes[-1]
    for changes in ({"latent_channels": 16}, {"block_out_channels": [16, 24, 48]}):
        changed_vae(tmp_path, **changes)
        with pytest.raises(ModelError) as caught:
            select_vae(replace(spec, force_vae=True), EMBEDDED_FOLDER)
        assert "force" not in (caught.value.hint or "")


@pytest.fixture(scope="module")
def consistency(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    vae = ConsistencyDecoderVAE(
        scaling_factor=1.0,
        encoder_block_out_channels=(32,) * LEVELS,
        encoder_layers_per_block=1,
        decoder_block_out_channels=(32, 64),
        decoder_down_block_types=("ResnetDownsampleBlock2D",) * 2,
        decoder_up_block_types=("ResnetUpsampleBlock2D",) * 2,
        decoder_layers_per_block=1,
    )
    folder = tmp_path_factory.mktemp("consistency")
    vae.save_pretrained(folder)
    return folder


def test_the_consistency_decoder_equals_diffusers(plain: Any, consistency: Path) -> None:
    """It draws noise from the image's generator, which denoising has advanced."""
    job = make_job(spec=replace(CPU, vae=str(consistency)), num_inference_steps=2, eta=1.0)
    [result] = engine.generate_batch(engine.load(job.spec), [job])
    vae = ConsistencyDecoderVAE.from_pretrained(consistency, dtype=torch.float32)
    swapped = StableDiffusionPipeline(
        **{**plain.components, "vae": vae}, requires_safety_checker=False
    )
    swapped.set_progress_bar_config(disable=True)
    swapped.scheduler = diffusers.DDIMScheduler.from_pretrained(
        EMBEDDED_FOLDER, subfolder="scheduler"
    )
    image = swapped(
        job.prompt,
        height=64,
        width=64,
        num_inference_steps=2,
        guidance_scale=job.guidance_scale,
        eta=1.0,
        generator=torch.Generator("cpu").manual_seed(job.seed),
        output_type="pil",
    ).images[0]
    assert np.array_equal(result.pixels, np.asarray(image))


def test_the_consistency_decoder_alone(consistency: Path) -> None:
    loaded = load_vae(replace(CPU, vae=str(consistency)))
    first, second, other = (decode_array(loaded, LATENTS, seed=seed).pixels for seed in (1, 1, 2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)
    with pytest.raises(ModelError, match="tiling"):
        decode_array(loaded, LATENTS, tiling="on")
