"""Load the refiner of Stable Diffusion XL, which draws the last part of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from sdcli.checkpoints.config_sizes import check_text_width
from sdcli.checkpoints.hub import fetch_model
from sdcli.checkpoints.model_defaults import describe_model
from sdcli.checkpoints.model_index import find_notes
from sdcli.checkpoints.recorded import REFINER_PREFIX
from sdcli.checkpoints.single_file.model import open_single_file
from sdcli.checkpoints.text_encoder import select_text_encoder
from sdcli.checkpoints.weight_files import WeightFiles
from sdcli.engine.loading.components import loading_errors_as_corrupt_errors
from sdcli.engine.loading.model_parts import find_part_files, load_parts, part_names
from sdcli.engine.loading.xl_pipeline import build_refiner_pipeline, xl_prompt_encoder
from sdcli.engine.text.xl_encoder import XlPromptEncoder
from sdcli.pipeline_spec import PipelineSpec


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadedRefiner:
    """A refiner on its device. Its pipeline has the VAE of the base model.

    `files` are the weights that it was loaded from, by their names in records.
    """

    pipeline: Any
    prompt_encoder: XlPromptEncoder
    takes_aesthetic_score: bool
    files: Mapping[str, WeightFiles]
    notes: tuple[str, ...] = ()


def load_refiner(
    spec: PipelineSpec,
    base: Any,
    dtype: torch.dtype,
    device: torch.device,
    like: LoadedRefiner | None = None,
) -> LoadedRefiner:
    """Load the model of `spec` as a refiner, with the VAE and the scheduler of `base`.

    `like` is the same refiner, loaded for another VAE. Raises ModelError, UnsafeError or
    CorruptError.
    """
    folder = fetch_model(spec)
    check_text_width(folder)
    chosen = select_text_encoder(spec, folder)
    files = find_part_files(spec, folder, chosen)
    single_file = open_single_file(spec)
    notes: tuple[str, ...] = ()
    if like:
        parts = {name: getattr(like.pipeline, name) for name in part_names(folder)}
    else:
        parts, notes = load_parts(folder, files, chosen, dtype, spec.weights_dtype)
    with loading_errors_as_corrupt_errors("refiner", folder):
        pipeline = build_refiner_pipeline(folder, parts, base.vae, base.scheduler)
    own_notes = (*(single_file.load_notes if single_file else ()), *find_notes(folder), *notes)
    traits = describe_model(folder).xl
    return LoadedRefiner(
        pipeline=pipeline,
        prompt_encoder=xl_prompt_encoder(folder, pipeline, device),
        takes_aesthetic_score=traits is not None and traits.takes_aesthetic_score,
        files={f"{REFINER_PREFIX}{name}": part_files for name, part_files in files.items()},
        notes=tuple(f"refiner: {note}" for note in own_notes),
    )
