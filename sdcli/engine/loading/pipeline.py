"""Load a text-to-image pipeline component by component, so that errors name the component."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers import StableDiffusionPipeline

from sdcli.checkpoints import weights
from sdcli.checkpoints.config_sizes import check_text_width
from sdcli.checkpoints.hub import fetch_model, refiner_spec
from sdcli.checkpoints.model_defaults import read_defaults
from sdcli.checkpoints.model_index import find_notes, is_xl
from sdcli.checkpoints.refiner import fetch_defaults
from sdcli.checkpoints.single_file.model import open_single_file
from sdcli.checkpoints.text_encoder import ChosenTextEncoder, select_text_encoder
from sdcli.checkpoints.vae_info import VaeInfo
from sdcli.checkpoints.vae_selection import select_vae
from sdcli.checkpoints.weight_files import WeightFiles
from sdcli.engine.backends.chosen_backend import loading_dtype, use_backend
from sdcli.engine.loading.components import loading_errors_as_corrupt_errors
from sdcli.engine.loading.controlnet import LoadedControlnets
from sdcli.engine.loading.defective_weights import defective_weights_error
from sdcli.engine.loading.ip_adapter import LoadedIpAdapters
from sdcli.engine.loading.layerwise_casting import STORAGE
from sdcli.engine.loading.model_files import models_and_files
from sdcli.engine.loading.model_parts import find_part_files, load_parts, part_names
from sdcli.engine.loading.networks import find_networks, model_size
from sdcli.engine.loading.pipeline_classes import Mode, build_relative
from sdcli.engine.loading.placement import Placement
from sdcli.engine.loading.refiner import LoadedRefiner, load_refiner
from sdcli.engine.loading.vae import build_vae
from sdcli.engine.loading.xl_pipeline import build_xl_pipeline, xl_prompt_encoder
from sdcli.engine.runtime import devices, memory
from sdcli.engine.runtime.lazy_import import import_seconds
from sdcli.engine.schedulers.build import load_scheduler
from sdcli.engine.text.encoder import JobEncoder, PromptEncoder
from sdcli.engine.vae.upcast import must_upcast
from sdcli.errors import CorruptError, ModelError
from sdcli.job import Job
from sdcli.pipeline_spec import PipelineSpec
from sdcli.planning.offload import ModelSize


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadedPipeline:
    """A pipeline whose networks `placement` brings to its device.

    It computes in `dtype`, which with another backend than torch is not that of its weights.
    `base_scheduler` is the model's own scheduler, which is never run. `refiner` draws the last part
    of a run. `seconds` has "import" and "load". `notes` are sentences to show the user once.
    """

    spec: PipelineSpec
    folder: Path
    pipeline: Any
    base_scheduler: Any
    prompt_encoder: JobEncoder
    device: torch.device
    dtype: torch.dtype
    files: Mapping[str, WeightFiles]
    hashes: weights.WeightHashes
    memory: memory.MemoryModel
    placement: Placement
    controlnets: LoadedControlnets
    ip_adapters: LoadedIpAdapters
    seconds: dict[str, float]
    refiner: LoadedRefiner | None = None
    notes: tuple[str, ...] = ()
    _relatives: dict[Mode, Any] = field(init=False, default_factory=dict)

    def pipeline_for(self, mode: Mode) -> Any:
        """Return the pipeline of a mode, built over the same components when it is first used."""
        if mode == "text":
            return self.pipeline
        if mode not in self._relatives:
            self._relatives[mode] = build_relative(self.pipeline, mode)
        return self._relatives[mode]

    @property
    def unets(self) -> list[Any]:
        """Return the UNets of the model and of its refiner."""
        refiner = [self.refiner.pipeline.unet] if self.refiner else []
        return [self.pipeline.unet, *refiner]

    def choose_placement(self, job: Job) -> None:
        """Choose where the networks are for a job. Raises UsageError."""
        refiner = self.refiner.pipeline if self.refiner else None
        networks = find_networks(self.pipeline, refiner)
        self.placement.plan(job, networks, lambda: self._size)

    @cached_property
    def _size(self) -> ModelSize:
        files = {**self.files, **(self.refiner.files if self.refiner else {})}
        vae = torch.float32 if must_upcast(self.pipeline) else self.dtype
        stored = STORAGE.get(self.spec.weights_dtype or "", self.dtype)
        return model_size(
            files,
            number_bytes=self.dtype.itemsize,
            unet_number_bytes=stored.itemsize,
            vae_number_bytes=vae.itemsize,
        )

    def defective_weights_error(self) -> CorruptError | None:
        """Return the error of weights that are not numbers, None if all are."""
        self.placement.reset()
        pairs = models_and_files(self.pipeline, self.files, self.refiner)
        pairs.insert(1, (self.controlnets.models, self.controlnets.files))
        errors = (defective_weights_error(models, files) for models, files in pairs)
        return next((error for error in errors if error), None)

    @property
    def latent_shape(self) -> tuple[int, int]:
        """Return the channels of the latents, and the pixels of each of their cells."""
        return self.pipeline.vae.config.latent_channels, self.pipeline.vae_scale_factor


def auto_batch_size(loaded: LoadedPipeline, job: Job) -> int:
    """Return how many jobs like this one to denoise together, at least 1."""
    width, height = job.final_size
    return loaded.memory.batch_size(memory_kind(job), width * height)


def memory_kind(job: Job) -> Hashable:
    """Return a key that is equal for images which need the same memory."""
    # With guidance the UNet computes every image twice, in one batch, and with PAG once more.
    rows = (job.guidance_scale > 1) + (job.pag_scale > 0)
    return (*job.final_size, rows, job.controlnet_sha256, job.ip_adapter_sha256)


def load(
    spec: PipelineSpec,
    folder: Path | None = None,
    *,
    like: LoadedPipeline | None = None,
    tell: Callable[[str], None] | None = None,
) -> LoadedPipeline:
    """Load the pipeline that the spec names.

    `folder` is the model's, by default the one that `fetch_model` finds. `like` is a pipeline of
    the same model that is no longer used: all but the VAE is taken from it. `tell` is called before
    a long wait.

    Not thread-safe: loading two components at the same time leaves tensors on the meta device.
    Raises ModelError, UnsafeError or CorruptError, which name the component, or DeviceError.
    """
    _disable_progress_bars()
    device = devices.device_of(spec)
    folder = folder or fetch_model(spec)
    started = time.perf_counter()
    read_defaults(folder)  # raises ModelError before anything large is read
    check_text_width(folder)
    vae, notes = select_vae(spec, folder)
    chosen = select_text_encoder(spec, folder)
    files = _find_weight_files(folder, vae, spec, chosen)
    dtype = devices.resolve_dtype(spec.dtype, device, _size(files["unet"]))
    if spec.refiner:
        fetch_defaults(spec)  # raises ModelError for models that cannot share a run
    stored = loading_dtype(spec, dtype)
    with memory.out_of_memory_as_device_error(spec.model):
        pipeline, file_notes = _build_pipeline(spec, chosen, folder, vae, files, stored, like)
    refiner = _load_refiner(spec, pipeline, stored, device, like)
    for pair in models_and_files(pipeline, files, refiner):
        use_backend(spec, *pair, dtype, tell)
    return LoadedPipeline(
        spec=spec,
        folder=folder,
        pipeline=pipeline,
        base_scheduler=like.base_scheduler if like else pipeline.scheduler,
        prompt_encoder=_prompt_encoder(folder, pipeline, device),
        refiner=refiner,
        device=device,
        dtype=dtype,
        files=files,
        hashes=weights.WeightHashes({**files, **(refiner.files if refiner else {})}),
        memory=memory.MemoryModel(device),
        **_shared(like, spec, device, dtype),
        seconds={"import": import_seconds(), "load": time.perf_counter() - started},
        notes=(*_single_file_notes(spec), *notes, *file_notes, *(refiner.notes if refiner else ())),
    )


def _single_file_notes(spec: PipelineSpec) -> tuple[str, ...]:
    single_file = open_single_file(spec)
    return single_file.load_notes if single_file else ()


def _size(files: WeightFiles) -> int:
    return sum(path.stat().st_size for path in files.files)


def _shared(
    like: LoadedPipeline | None, spec: PipelineSpec, device: torch.device, dtype: torch.dtype
) -> dict[str, Any]:
    """Return what places networks and loads those of jobs, with those that are loaded already."""
    if like:
        names = "placement", "controlnets", "ip_adapters"
        return {name: getattr(like, name) for name in names}
    placement = Placement.on(device)
    target: dict[str, Any] = {"spec": spec, "placement": placement, "dtype": dtype}
    return {
        "placement": placement,
        "controlnets": LoadedControlnets(**target),
        "ip_adapters": LoadedIpAdapters(**target),
    }


def _disable_progress_bars() -> None:
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()


def _load_refiner(
    spec: PipelineSpec,
    base: Any,
    dtype: torch.dtype,
    device: torch.device,
    like: LoadedPipeline | None,
) -> LoadedRefiner | None:
    refiner = refiner_spec(spec)
    if refiner is None:
        return None
    with memory.out_of_memory_as_device_error(f"refiner: {spec.refiner}"):
        known = like.refiner if like else None
        return load_refiner(refiner, base, dtype, device, known)


def _find_weight_files(
    folder: Path, vae: VaeInfo, spec: PipelineSpec, chosen: ChosenTextEncoder | None
) -> dict[str, WeightFiles]:
    """Return the checked weights of each component. Raises ModelError and its relatives."""
    files = find_part_files(spec, folder, chosen) | {"vae": vae.weights}
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
    spec: PipelineSpec,
    chosen: ChosenTextEncoder | None,
    folder: Path,
    vae: VaeInfo,
    files: Mapping[str, WeightFiles],
    dtype: torch.dtype,
    like: LoadedPipeline | None,
) -> tuple[Any, tuple[str, ...]]:
    """Build the pipeline, and return sentences about its files for the user."""
    if like:
        parts = {name: getattr(like.pipeline, name) for name in part_names(folder)}
        notes: tuple[str, ...] = ()
    else:
        parts, notes = load_parts(folder, files, chosen, dtype, spec.weights_dtype)
    scheduler = like.base_scheduler if like else load_scheduler(folder)
    own_vae = build_vae(vae, folder, dtype, devices.device_of(spec))
    with loading_errors_as_corrupt_errors("model", folder):
        build = build_xl_pipeline if is_xl(folder) else _build_sd_pipeline
        pipeline = build(folder, parts, own_vae, scheduler)
    return pipeline, (*find_notes(folder), *notes)


def _build_sd_pipeline(folder: Path, parts: Mapping[str, Any], vae: Any, scheduler: Any) -> Any:
    with warnings.catch_warnings():
        # The constructor corrects scheduler files from before 2023, and warns about it.
        warnings.filterwarnings("ignore", "The configuration file of th", FutureWarning)
        pipeline = StableDiffusionPipeline(
            **parts,
            vae=vae,
            scheduler=scheduler,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _prompt_encoder(folder: Path, pipeline: Any, device: torch.device) -> JobEncoder:
    if is_xl(folder):
        return xl_prompt_encoder(folder, pipeline, device)
    return PromptEncoder(pipeline.tokenizer, pipeline.text_encoder, device)
