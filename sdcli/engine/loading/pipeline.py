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
from transformers import CLIPTextModel

from sdcli.checkpoints import weights
from sdcli.checkpoints.component_configs import read_config
from sdcli.checkpoints.config_sizes import check_sizes, check_text_width
from sdcli.checkpoints.hub import fetch_model
from sdcli.checkpoints.model_defaults import read_defaults
from sdcli.checkpoints.model_index import find_notes
from sdcli.checkpoints.single_file.model import find_model_weights, open_single_file
from sdcli.checkpoints.vae_info import VaeInfo
from sdcli.checkpoints.vae_selection import select_vae
from sdcli.checkpoints.weight_files import WeightFiles
from sdcli.engine.loading.components import load_component, loading_errors_as_corrupt_errors
from sdcli.engine.loading.tokenizer import load_tokenizer
from sdcli.engine.loading.vae import build_vae
from sdcli.engine.runtime import devices, memory
from sdcli.engine.runtime.lazy_import import import_seconds
from sdcli.engine.schedulers.build import load_scheduler
from sdcli.engine.text.encoder import PromptEncoder
from sdcli.errors import ModelError
from sdcli.job import Job
from sdcli.pipeline_spec import PipelineSpec

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
    check_text_width(folder)
    vae, notes = select_vae(spec, folder)
    files = _find_weight_files(folder, vae, spec)
    with memory.out_of_memory_as_device_error(spec.model, device):
        pipeline, file_notes = _build_pipeline(folder, vae, files, dtype, device, like)
    single_file = open_single_file(spec)
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
        notes=(*(single_file.load_notes if single_file else ()), *notes, *file_notes),
    )


def _disable_progress_bars() -> None:
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()


def _find_weight_files(folder: Path, vae: VaeInfo, spec: PipelineSpec) -> dict[str, WeightFiles]:
    """Return the checked weights of each component. Raises ModelError and its relatives."""
    files = {name: find_model_weights(spec, folder, name) for name in _CLASSES}
    for name, component_files in files.items():
        header = weights.check_weights(name, component_files)
        # The tensors of a single file are compared with the model one by one.
        if component_files.sources is None:
            check_sizes(name, folder / name / "config.json", header)
    files["vae"] = vae.weights
    # Like Diffusers, accept a model that has the variant of some components only.
    variants = {component_files.variant for component_files in files.values()}
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
    files: Mapping[str, WeightFiles],
    dtype: torch.dtype,
    device: torch.device,
    like: LoadedPipeline | None,
) -> tuple[Any, tuple[str, ...]]:
    """Build the pipeline, and return sentences about its files for the user."""
    if like:
        components = {name: getattr(like.pipeline, name) for name in (*_CLASSES, "tokenizer")}
        notes: tuple[str, ...] = ()
    else:
        components = {
            name: _load(name, cls, folder, files[name], dtype).to(device)
            for name, cls in _CLASSES.items()
        }
        positions = components["text_encoder"].config.max_position_embeddings
        components["tokenizer"], notes = load_tokenizer(folder, positions)
    with warnings.catch_warnings(), loading_errors_as_corrupt_errors("model", folder):
        # The constructor corrects scheduler files from before 2023, and warns about it.
        warnings.filterwarnings("ignore", "The configuration file of th", FutureWarning)
        pipeline = StableDiffusionPipeline(
            **components,
            vae=build_vae(vae, folder, dtype).to(device),
            scheduler=like.base_scheduler if like else load_scheduler(folder),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline, (*find_notes(folder), *notes)


def _load(name: str, cls: Any, folder: Path, files: WeightFiles, dtype: torch.dtype) -> Any:
    config_file = folder / name / "config.json"
    return load_component(name, cls, config_file, read_config(config_file, name), files, dtype)
