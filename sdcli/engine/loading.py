"""Load a StableDiffusionPipeline part by part, so that whatever is wrong with one is said."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers import AutoencoderKL, AutoencoderTiny, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from sdcli import engine
from sdcli.catalog.models import read_defaults, read_json
from sdcli.engine import devices, memory, schedulers, weights
from sdcli.engine.encode import PromptEncoder
from sdcli.engine.fetch import fetch, fetch_vae
from sdcli.errors import CorruptError, DeviceError, ModelError
from sdcli.request import PipelineSpec

VAE_CLASSES = {"AutoencoderKL": AutoencoderKL, "AutoencoderTiny": AutoencoderTiny}


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadedPipeline:
    """A pipeline on its device, and what was learnt while loading it.

    `base_scheduler` is the model's own and never run; `seconds` has "import" and "load"; `notes`
    are sentences to tell the user once.
    """

    spec: PipelineSpec
    folder: Path
    pipeline: Any
    base_scheduler: Any
    encoder: PromptEncoder
    device: torch.device
    dtype: torch.dtype
    hashes: weights.WeightHashes
    seconds: Mapping[str, float]
    notes: tuple[str, ...] = ()


def load(spec: PipelineSpec, folder: Path | None = None) -> LoadedPipeline:
    """Load what the spec names from `folder`, by default where `fetch` finds it.

    Never call this in two threads: components loaded at once corrupt the process (meta tensors).
    Raises ModelError, UnsafeError, CorruptError (each names the part) and DeviceError.
    """
    _silence()
    device = devices.resolve(spec.device)
    dtype = devices.resolve_dtype(spec.dtype, device)
    folder = folder or fetch(spec)
    started = time.perf_counter()
    read_defaults(folder)  # refuses what is no model of ours before anything large is read
    vae_folder = fetch_vae(spec, folder)
    homes = {"unet": folder / "unet", "text_encoder": folder / "text_encoder", "vae": vae_folder}
    files = _weight_files(homes, spec)
    notes = _check_vae(folder, vae_folder)
    try:
        pipeline = _build(folder, homes, files, dtype, device)
    except RuntimeError as error:
        if not memory.is_out_of_memory(error):
            raise
        raise DeviceError(
            f"{spec.model} does not fit into the memory of {device}",
            code="device.memory",
            hint="try --dtype float16 or --device cpu",
        ) from error
    return LoadedPipeline(
        spec=spec,
        folder=folder,
        pipeline=pipeline,
        base_scheduler=pipeline.scheduler,
        encoder=PromptEncoder(pipeline.tokenizer, pipeline.text_encoder, device),
        device=device,
        dtype=dtype,
        hashes=weights.WeightHashes(files),
        seconds={"import": engine.import_seconds, "load": time.perf_counter() - started},
        notes=notes,
    )


def _silence() -> None:
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()


def _weight_files(homes: Mapping[str, Path], spec: PipelineSpec) -> dict[str, Path]:
    files = {part: weights.find(home, part, spec.variant) for part, home in homes.items()}
    for part, path in files.items():
        weights.check(part, path)
    variants = {weights.variant_of(path.name) for path in files.values()}
    if spec.variant and spec.variant not in variants:
        raise ModelError(
            f"{spec.model} has no variant {spec.variant!r}",
            code="model.no_variant",
            hint="leave --variant out",
        )
    return files


def _check_vae(folder: Path, vae_folder: Path) -> tuple[str, ...]:
    """Compare the VAE's configuration with the model's before anything large is read."""
    vae, unet = read_json(vae_folder / "config.json"), read_json(folder / "unet" / "config.json")
    if vae.get("_class_name") not in VAE_CLASSES:
        raise ModelError(
            f"VAE: {vae_folder} is a {vae.get('_class_name')}",
            code="model.vae",
            hint=f"it must be one of {', '.join(VAE_CLASSES)}",
        )
    channels = vae.get("latent_channels", 4)
    if channels != unet.get("in_channels", 4):
        raise ModelError(
            f"VAE: it has {channels} latent channels, the UNet {unet.get('in_channels', 4)}",
            code="model.vae",
            hint="use a VAE made for this model",
        )
    own = read_json(folder / "vae" / "config.json") if (folder / "vae").is_dir() else vae
    factors = (own.get("scaling_factor"), vae.get("scaling_factor"))
    if own.get("_class_name") == vae["_class_name"] and factors[0] != factors[1]:
        return (f"VAE: its scaling factor is {factors[1]}, the model's own {factors[0]}",)
    return ()


def _build(
    folder: Path,
    homes: Mapping[str, Path],
    files: Mapping[str, Path],
    dtype: torch.dtype,
    device: torch.device,
) -> Any:
    classes = {
        "unet": UNet2DConditionModel,
        "text_encoder": CLIPTextModel,
        "vae": VAE_CLASSES[read_json(homes["vae"] / "config.json")["_class_name"]],
    }
    parts = {
        part: _load_part(part, classes[part], homes[part], files[part], dtype).to(device)
        for part in classes
    }
    with warnings.catch_warnings():
        # Of scheduler files older than 2023, which the constructor mends itself.
        warnings.filterwarnings("ignore", "The configuration file of th", FutureWarning)
        pipeline = StableDiffusionPipeline(
            **parts,
            tokenizer=_load_tokenizer(folder),
            scheduler=_load_scheduler(folder),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _load_part(part: str, cls: Any, home: Path, file: Path, dtype: torch.dtype) -> Any:
    try:
        model, info = cls.from_pretrained(
            home,
            dtype=dtype,
            variant=weights.variant_of(file.name),
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _corrupt(part, home, str(error).splitlines()[0]) from error
    except RuntimeError as error:
        if memory.is_out_of_memory(error):
            raise
        raise _corrupt(part, home, str(error).splitlines()[0]) from error
    # A missing tensor is no error to Diffusers (it stays on "meta") nor to Transformers (random).
    missing = sorted(info["missing_keys"]) or [n for n, p in model.named_parameters() if p.is_meta]
    if missing:
        raise _corrupt(part, file, f"lacks {missing[0]}" + _and_more(missing))
    mismatched = sorted(str(key[0]) for key in info["mismatched_keys"])
    if mismatched:
        raise _corrupt(part, file, f"has another shape of {mismatched[0]}" + _and_more(mismatched))
    return model


def _load_tokenizer(folder: Path) -> Any:
    try:
        return CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _corrupt("tokenizer", folder / "tokenizer", str(error).splitlines()[0]) from error


def _load_scheduler(folder: Path) -> Any:
    config = read_json(folder / "scheduler" / "scheduler_config.json")
    return schedulers.scheduler_class(str(config.get("_class_name"))).from_config(config)


def _and_more(names: list[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""


def _corrupt(part: str, path: Path, what: str) -> CorruptError:
    return CorruptError(
        f"{part}: {path}: {what}",
        code="model.corrupt",
        hint="fetch the file again",
    )
