"""Find the folder or file of a model or a VAE on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from sdcli.catalog.hub_names import model_name_hint
from sdcli.catalog.known_vaes import OWN_VAE, TINY_VAE, VAES
from sdcli.checkpoints.adapters.embedded_addons import embedded_hint
from sdcli.checkpoints.weight_files import PICKLE_SUFFIXES, WEIGHT_SUFFIXES, convert_hint
from sdcli.errors import ModelError, UnsafeError, did_you_mean, quoted
from sdcli.inputs.paths import expand_user
from sdcli.inputs.regular_file import refuse_special_files, special_kind
from sdcli.inputs.similar_paths import similar_path_hint
from sdcli.pipeline_spec import EMBEDDED

Kind = Literal[
    "model", "VAE", "LoRA", "text encoder", "ControlNet", "IP-Adapter", "image encoder"
]  # fmt: skip

_COMPONENT_FOLDERS: Final = (
    "unet", "vae", "vae_tiny", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2",
    "scheduler", "safety_checker", "feature_extractor", "controlnet",
)  # fmt: skip

_MODEL_SUFFIXES: Final = (".json", ".txt", *WEIGHT_SUFFIXES)


def find_local(name: str, kind: Kind) -> Path | None:
    """Return the folder or the .safetensors file at the path `name`.

    Returns None if the path does not exist. Raises UnsafeError for a pickle and ModelError for
    other files.
    """
    path = expand_user(name)
    if path.is_dir():
        _check_folder(path)
        return path
    if path.is_file():
        _check_single_file(path, kind)
        return path
    if special := special_kind(path):
        raise ModelError(
            f"{path} is {special}, not a {kind}",
            code="model.not_a_file",
            hint="use a folder, a .safetensors file or a Hugging Face id",
        )
    return None


def find_tiny_vae(model: str, model_folder: Path) -> Path:
    """Return the folder of the model's small VAE. Raises ModelError if it has none."""
    folder = model_folder / "vae_tiny"
    if not folder.is_dir():
        raise ModelError(
            f"{model} does not include a small VAE",
            code="model.no_tiny_vae",
            hint="--vae taesd works with Stable Diffusion 1 and 2, --vae taesdxl with XL",
        )
    return folder


def not_found_error(name: str, kind: Kind) -> ModelError:
    """Return the error for a name that is no local path and no Hugging Face id."""
    aliases: dict[Kind, list[str]] = {
        "model": [EMBEDDED],
        "VAE": [OWN_VAE, TINY_VAE, *(row.name for row in VAES)],
    }
    own = "embedded:layout, embedded:edges, " if kind == "ControlNet" else ""
    return ModelError(
        f"no {kind} at {quoted(name)}",
        code="model.not_found",
        hint=(model_name_hint(name) if kind == "model" else None)
        or embedded_hint(name, kind)
        or did_you_mean(name, aliases.get(kind, []))
        or similar_path_hint(name)
        or f"use {own}a folder, a .safetensors file, a Hugging Face id (owner/name), or omit the "
        "option",
    )


def _check_folder(folder: Path) -> None:
    """Raise ModelError if a pipe, socket or device has the place of a file of the model.

    The libraries that load the model would wait for it.
    """
    for path in (folder, *(folder / name for name in _COMPONENT_FOLDERS)):
        if path.is_dir():
            refuse_special_files(path, _MODEL_SUFFIXES, ModelError, "model.not_a_file")


def _check_single_file(path: Path, kind: Kind) -> None:
    """Raise UnsafeError or ModelError unless the file's name is that of safetensors."""
    if path.suffix.lower() in PICKLE_SUFFIXES:
        raise UnsafeError(
            f"{path} is a pickle, which can run code when it is loaded",
            code="model.pickle",
            hint=convert_hint(path, path.with_suffix(".safetensors")),
        )
    if path.suffix.lower() != ".safetensors":
        raise ModelError(
            f"{path} is not a .safetensors file",
            code="model.not_a_folder",
            hint=f"a {kind} is a folder, a .safetensors file or a Hugging Face id",
        )
