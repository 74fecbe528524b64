"""Load a StableDiffusionPipeline component by component, so that errors name the component."""

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
from sdcli.checkpoints.model_defaults import read_defaults
from sdcli.checkpoints.vae_info import VaeInfo
from sdcli.checkpoints.vae_selection import select_vae
from sdcli.engine.loading.components import load_component, loading_errors_as_corrupt_errors
from sdcli.engine.loading.vae import build_vae
from sdcli.engine.runtime import devices, memory
from sdcli.engine.runtime.lazy_import import import_seconds
from sdcli.engine.schedulers.build import load_scheduler
from sdcli.engine.text.encoder import PromptEncoder
from sdcli.errors import ModelError
from sdcli.job import Job
from sdcli.request import PipelineSpec

_CLASSES = {"unet": UNet2DConditionModel, "text_encoder": CLIPTextModel}
"""The components with weights, without the VAE."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadedPipeline:
    """A pipeline on its device.

    `base_scheduler` is the model's own scheduler, which is never run. `seconds` has "import" and
    "load". `notes` are sentences to show the user once.
    """

    spec: PipelineSpec
    folder: Path
    pipeline: Any
    base_scheduler: Any
    prompt_encoder: PromptEncoder
    device: torch.device
    dtype: torch.dtype
    hashes: weights.WeightHashes
    memory: memory.MemoryModel
    seconds: Mapping[str, float]
    notes: tuple[str, ...] = ()


def auto_batch_size(loaded: LoadedPipeline, job: Job) -> int:
    """Return how many jobs like this one to denoise together, at least 1."""
    return loaded.memory.batch_size(memory_kind(job), job.width * job.height)


def memory_kind(job: Job) -> Hashable:
    """Return a key that is equal for images which need the same memory."""
    # With guidance the UNet computes every image twice, in one batch.
    return (job.width, job.height, job.guidance_scale > 1)


def load(
    spec: PipelineSpec, folder: Path | None = None, *, like: LoadedPipeline | None = None
) -> LoadedPipeline:
    """Load the pipeline that the spec names.

    `folder` is the model's, by default the one that `fetch_model` finds. `like` is a pipeline of
    the same model that is no longer used: everything but the VAE is taken from it.

    Not thread-safe: loading two components at the same time leaves tensors on the meta device.
    Raises ModelError, UnsafeError or CorruptError, which name the component, or DeviceError.
    """
    _disable_progress_bars()
    device = devices.resolve(spec.device)
    dtype = devices.resolve_dtype(spec.dtype, device)
    folder = folder or fetch_model(spec)
    started = time.perf_counter()
    # Raises ModelError for a folder without a supported model, before anything large is read.
    read_defaults(folder)
    vae, notes = select_vae(spec, folder)
    files = _find_weight_files(folder, vae, spec)
    with memory.out_of_memory_as_device_error(spec.model, device):
        pipeline = _build_pipeline(folder, vae, files, dtype, device, like)
    return LoadedPipeline(
        spec=spec,
        folder=folder,
        pipeline=pipeline,
        base_scheduler=like.base_scheduler if like else pipeline.scheduler,
        prompt_encoder=PromptEncoder(pipeline.tokenizer, pipeline.text_encoder, device),
        device=device,
        dtype=dtype,
        hashes=weights.WeightHashes(files),
        memory=memory.MemoryModel(device),
        seconds={"import": import_seconds(), "load": time.perf_counter() - started},
        notes=notes,
    )


def _disable_progress_bars() -> None:
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()


def _find_weight_files(folder: Path, vae: VaeInfo, spec: PipelineSpec) -> dict[str, Path]:
    """Return the checked weight file of each component. Raises ModelError and its relatives."""
    files = {name: weights.find_weight_file(folder / name, name, spec.variant) for name in _CLASSES}
    for name, path in files.items():
        weights.check_weight_file(name, path)
    files["vae"] = vae.weights
    # Like Diffusers, accept a model that has the variant of some components only.
    variants = {weights.variant_of(path.name) for path in files.values()}
    if spec.variant and spec.variant not in variants:
        raise ModelError(
            f"{spec.model} has no variant {spec.variant!r}",
            code="model.no_variant",
            hint="leave --variant out",
        )
    return files


def _build_pipeline(
    folder: Path,
    vae: VaeInfo,
    files: Mapping[str, Path],
    dtype: torch.dtype,
    device: torch.device,
    like: LoadedPipeline | None,
) -> Any:
    if like:
        components = {name: getattr(like.pipeline, name) for name in _CLASSES}
    else:
        components = {
            name: load_component(name, cls, folder / name, files[name], dtype).to(device)
            for name, cls in _CLASSES.items()
        }
    with warnings.catch_warnings():
        # The constructor corrects scheduler files from before 2023, and warns about it.
        warnings.filterwarnings("ignore", "The configuration file of th", FutureWarning)
        pipeline = StableDiffusionPipeline(
            **components,
            vae=build_vae(vae, folder, dtype).to(device),
            tokenizer=like.pipeline.tokenizer if like else _load_tokenizer(folder),
            scheduler=like.base_scheduler if like else load_scheduler(folder),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _load_tokenizer(folder: Path) -> Any:
    files = {path.name for path in (folder / "tokenizer").glob("*.*")}
    # Without these files Transformers silently builds a tokenizer with an empty vocabulary.
    if "tokenizer.json" not in files and not {"vocab.json", "merges.txt"} <= files:
        raise ModelError(
            f"tokenizer: neither tokenizer.json nor vocab.json and merges.txt in {folder}",
            code="model.incomplete",
            hint="download the model again",
        )
    with loading_errors_as_corrupt_errors("tokenizer", folder / "tokenizer"):
        return CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
