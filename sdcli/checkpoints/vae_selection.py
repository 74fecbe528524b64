"""Select the VAE of a pipeline and check that it fits the model."""

from __future__ import annotations

from pathlib import Path

from sdcli.catalog.known_vaes import find_known_vae
from sdcli.checkpoints.component_configs import read_config
from sdcli.checkpoints.hub import fetch_vae
from sdcli.checkpoints.model_defaults import read_defaults
from sdcli.checkpoints.model_index import class_of
from sdcli.checkpoints.single_file.model import find_model_weights
from sdcli.checkpoints.vae_compatibility import find_mismatch
from sdcli.checkpoints.vae_info import VaeInfo, read_vae
from sdcli.checkpoints.weights import find_weights
from sdcli.errors import ModelError
from sdcli.pipeline_spec import PipelineSpec


def select_vae(spec: PipelineSpec, model_folder: Path) -> tuple[VaeInfo, tuple[str, ...]]:
    """Return the VAE that `spec` selects, and sentences to show to the user.

    Raises ModelError if it does not fit the model, unless `spec.force_vae` is set and the VAE can
    be used at all. Raises UnsafeError for a pickle and CorruptError for broken files.
    """
    vae = read_selected_vae(spec, model_folder)
    known_vae = find_known_vae(spec.vae) if spec.vae else None
    mismatch = find_mismatch(
        vae, _read_model_vae_config(model_folder), read_defaults(model_folder), known_vae
    )
    if mismatch is None:
        return vae, vae.assumptions
    if not (mismatch.can_be_forced and spec.force_vae):
        hint = f"{mismatch.hint}, or add --force-vae" if mismatch.can_be_forced else mismatch.hint
        raise ModelError(f"VAE: {mismatch.reason}", code="model.vae", hint=hint)
    return vae, (*vae.assumptions, f"VAE: {mismatch.reason}; used because of --force-vae")


def read_selected_vae(spec: PipelineSpec, model_folder: Path) -> VaeInfo:
    """Return the VAE that `spec` selects, whether or not it fits the model.

    Raises ModelError, UnsafeError and CorruptError.
    """
    path = fetch_vae(spec, model_folder)
    is_own = path == model_folder / "vae"
    return read_vae(
        path,
        find_model_weights(spec, model_folder, "vae")
        if is_own
        else find_weights(path, "vae", spec.variant),
        _read_model_vae_config(model_folder),
        class_of(model_folder, "vae") if is_own else None,
    )


def _read_model_vae_config(model_folder: Path) -> dict[str, object]:
    return read_config(model_folder / "vae" / "config.json", "vae")
