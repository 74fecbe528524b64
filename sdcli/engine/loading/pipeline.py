"""Load a StableDiffusionPipeline part by part, so that whatever is wrong with one is said."""

from __future__ import annotations

import time
import warnings
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from sdcli.checkpoints import weights
from sdcli.checkpoints.hub import fetch_model
from sdcli.checkpoints.model_defaults import read_defaults, read_json
from sdcli.checkpoints.vae_info import VaeInfo
from sdcli.checkpoints.vae_selection import select_vae
from sdcli.engine.loading.components import corrupt_component_error, load_component
from sdcli.engine.loading.vae import build_vae
from sdcli.engine.runtime import devices, memory
from sdcli.engine.runtime.lazy_import import import_seconds
from sdcli.engine.schedulers.build import scheduler_class
from sdcli.engine.text.encoder import PromptEncoder
from sdcli.errors import DeviceError, ModelError
from sdcli.job import Job
from sdcli.request import PipelineSpec

_CLASSES = {"unet": UNet2DConditionModel, "text_encoder": CLIPTextModel}


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
    memory: memory.MemoryModel
    seconds: Mapping[str, float]
    notes: tuple[str, ...] = ()


def auto_batch_size(loaded: LoadedPipeline, job: Job) -> int:
    """How many jobs like this one to run at once, at least 1."""
    return loaded.memory.batch_size(memory_kind(job), job.width * job.height)


def memory_kind(job: Job) -> Hashable:
    """What decides how much memory an image takes: its size, and whether the UNet sees it twice."""
    return (job.width, job.height, job.guidance_scale > 1)


def load(
    spec: PipelineSpec, folder: Path | None = None, *, like: LoadedPipeline | None = None
) -> LoadedPipeline:
    """Load what the spec names from `folder`, by default where `fetch` finds it.

    All but the VAE is taken from `like`, a pipeline of the same model that is no longer used.

    Never call this in two threads: components loaded at once corrupt the process (meta tensors).
    Raises ModelError, UnsafeError, CorruptError (each names the part) and DeviceError.
    """
    _silence()
    device = devices.resolve(spec.device)
    dtype = devices.resolve_dtype(spec.dtype, device)
    folder = folder or fetch_model(spec)
    started = time.perf_counter()
    read_defaults(folder)  # refuses what is no model of ours before anything large is read
    vae, notes = select_vae(spec, folder)
    files = _weight_files(folder, vae, spec)
    try:
        pipeline = _build(folder, vae, files, dtype, device, like)
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
        base_scheduler=like.base_scheduler if like else pipeline.scheduler,
        encoder=PromptEncoder(pipeline.tokenizer, pipeline.text_encoder, device),
        device=device,
        dtype=dtype,
        hashes=weights.WeightHashes(files),
        memory=memory.MemoryModel(device),
        seconds={"import": import_seconds(), "load": time.perf_counter() - started},
        notes=notes,
    )


def _silence() -> None:
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()


def _weight_files(folder: Path, vae: VaeInfo, spec: PipelineSpec) -> dict[str, Path]:
    files = {part: weights.find_weight_file(folder / part, part, spec.variant) for part in _CLASSES}
    for part, path in files.items():
        weights.check_weight_file(part, path)
    files["vae"] = vae.weights
    variants = {weights.variant_of(path.name) for path in files.values()}
    if spec.variant and spec.variant not in variants:
        raise ModelError(
            f"{spec.model} has no variant {spec.variant!r}",
            code="model.no_variant",
            hint="leave --variant out",
        )
    return files


def _build(
    folder: Path,
    vae: VaeInfo,
    files: Mapping[str, Path],
    dtype: torch.dtype,
    device: torch.device,
    like: LoadedPipeline | None,
) -> Any:
    if like:
        built = {part: getattr(like.pipeline, part) for part in _CLASSES}
    else:
        built = {
            part: load_component(part, cls, folder / part, files[part], dtype).to(device)
            for part, cls in _CLASSES.items()
        }
    built["vae"] = build_vae(vae, folder, dtype).to(device)
    with warnings.catch_warnings():
        # Of scheduler files older than 2023, which the constructor mends itself.
        warnings.filterwarnings("ignore", "The configuration file of th", FutureWarning)
        pipeline = StableDiffusionPipeline(
            **built,
            tokenizer=like.pipeline.tokenizer if like else _load_tokenizer(folder),
            scheduler=like.base_scheduler if like else _load_scheduler(folder),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _load_tokenizer(folder: Path) -> Any:
    there = {path.name for path in (folder / "tokenizer").glob("*.*")}
    if "tokenizer.json" not in there and not {"vocab.json", "merges.txt"} <= there:
        raise ModelError(
            f"tokenizer: neither tokenizer.json nor vocab.json and merges.txt in {folder}",
            code="model.incomplete",
            hint="download the model again",
        )
    try:
        return CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise corrupt_component_error(
            "tokenizer", folder / "tokenizer", str(error).splitlines()[0]
        ) from error


def _load_scheduler(folder: Path) -> Any:
    config = read_json(folder / "scheduler" / "scheduler_config.json")
    return scheduler_class(str(config.get("_class_name"))).from_config(config)
