"""Which files the VAE of a spec is, read and compared with the model. No torch here."""

from __future__ import annotations

from pathlib import Path

from sdcli.catalog.known_vaes import find_known_vae
from sdcli.checkpoints import weights
from sdcli.checkpoints.hub import fetch_vae
from sdcli.checkpoints.model_defaults import read_defaults, read_json
from sdcli.checkpoints.vae_info import VaeInfo, find_mismatch, read_vae
from sdcli.errors import ModelError
from sdcli.request import PipelineSpec


def select_vae(spec: PipelineSpec, model_folder: Path) -> tuple[VaeInfo, tuple[str, ...]]:
    """The VAE that the spec means, and sentences to tell of it.

    Raises ModelError for one that does not fit the model, unless `force_vae` says that the
    picture may be wrong; UnsafeError for pickles, CorruptError.
    """
    facts = read_selected_vae(spec, model_folder)
    own = read_json(model_folder / "vae" / "config.json")
    row = find_known_vae(spec.vae) if spec.vae else None
    wrong = find_mismatch(facts, own, read_defaults(model_folder), row)
    if wrong is None:
        return facts, facts.assumed
    if not wrong.can_be_forced:
        raise ModelError(f"VAE: {wrong.reason}", code="model.vae", hint=wrong.hint)
    if not spec.force_vae:
        raise ModelError(
            f"VAE: {wrong.reason}", code="model.vae", hint=f"{wrong.hint}, or add --force-vae"
        )
    return facts, (*facts.assumed, f"VAE: {wrong.reason}; taken all the same (--force-vae)")


def read_selected_vae(spec: PipelineSpec, model_folder: Path) -> VaeInfo:
    """The facts of the VAE that the spec means, whether or not it fits."""
    home = fetch_vae(spec, model_folder)
    file = weights.find_weight_file(home, "vae", spec.variant)
    weights.check_weight_file("vae", file)
    return read_vae(home, file, read_json(model_folder / "vae" / "config.json"))
