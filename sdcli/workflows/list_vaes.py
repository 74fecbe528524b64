"""List the VAEs that have a name, and whether they fit a model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sdcli.catalog.known_vaes import OWN_VAE, TINY_VAE, UNKNOWN_FAMILY, VAES, KnownVae
from sdcli.checkpoints.hub import fetch_model
from sdcli.checkpoints.model_defaults import read_defaults
from sdcli.checkpoints.vae_selection import read_selected_vae
from sdcli.inputs.paths import hub_cache
from sdcli.pipeline_spec import PipelineSpec


def list_vaes(model: str) -> list[dict[str, Any]]:
    """Describe the VAEs of a model's folder, then those that have an alias; loads nothing."""
    folder = fetch_model(PipelineSpec(model=model, offline=True))
    family = read_defaults(folder).family
    return [
        *_model_vaes(model, folder, family),
        *(_known_vae(row, family, hub_cache()) for row in VAES),
    ]


def _model_vaes(model: str, folder: Path, family: str) -> list[dict[str, Any]]:
    rows = []
    for name, subfolder, about in (
        (OWN_VAE, "vae", "the model's own"),
        (TINY_VAE, "vae_tiny", "the model's small one, for previews"),
    ):
        if (folder / subfolder).is_dir():
            info = read_selected_vae(PipelineSpec(model=model, vae=name, offline=True), folder)
            rows.append(
                {
                    "name": name,
                    "class": info.class_name,
                    "for": family,
                    "scaling_factor": info.scaling_factor,
                    "fits": True,
                    "where": str(info.path),
                    "about": about,
                }
            )
    return rows


def _known_vae(row: KnownVae, family: str, cache: Path) -> dict[str, Any]:
    # Unlike the method of a Path, it never raises, for example for a folder that can't be read.
    is_cached = os.path.isdir(cache / f"models--{row.repo.replace('/', '--')}")
    return {
        "name": row.name,
        "class": row.class_name,
        "for": ", ".join(sorted(f.replace("Stable Diffusion ", "SD ") for f in row.families)),
        "scaling_factor": row.scaling_factor,
        # A model of an unknown family may fit any of them.
        "fits": None if family == UNKNOWN_FAMILY else family in row.families,
        "where": row.repo + (" (cached)" if is_cached else ""),
        "about": row.description,
    }
