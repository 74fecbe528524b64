"""Find a ControlNet, and read its configuration and weights as far as its header tells them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final

from sdcli.checkpoints.adapters.controlnet_fit import check_fit, check_shapes
from sdcli.checkpoints.adapters.controlnet_names import ControlnetShapes
from sdcli.checkpoints.adapters.embedded_addons import find_embedded, is_embedded_addon
from sdcli.checkpoints.adapters.lora_names import fetch_hub_file, hub_file
from sdcli.checkpoints.adapters.t2i_adapter import (
    CLASS,
    check_adapter,
    is_t2i_adapter,
    read_adapter_config,
)
from sdcli.checkpoints.component_configs import read_config
from sdcli.checkpoints.config_sizes import check_sizes
from sdcli.checkpoints.file_hashes import verified_sha256
from sdcli.checkpoints.file_state import FilesState, fetch_once, files_state
from sdcli.checkpoints.hub import fetch_controlnet, fetch_model
from sdcli.checkpoints.json_files import shorten
from sdcli.checkpoints.recorded import local_states
from sdcli.checkpoints.safetensors_header import SafetensorsHeader, read_header
from sdcli.checkpoints.single_file.detection import Detection, detect
from sdcli.checkpoints.single_file.model import find_model_weights
from sdcli.checkpoints.single_file.other_kinds import option_hint
from sdcli.checkpoints.weight_files import WeightFiles
from sdcli.checkpoints.weights import check_weights, find_weights, hash_weights
from sdcli.errors import CorruptError, ModelError, SdcliError, name_some
from sdcli.inputs.paths import expand_user
from sdcli.pipeline_spec import PipelineSpec

COMPONENT: Final = "controlnet"

_CLASS: Final = "ControlNetModel"
_CELL: Final = 8
_WORDS: Final = {
    "model": "a whole model", "vae": "a VAE", "text_encoder": "a text encoder",
}  # fmt: skip
_VARIANTS: Final[Mapping[str, str]] = {
    "task_embedding": "a ControlNet Union",
    "control_add_embedding.linear_1.weight": "a ControlNet Union",
    "lora_controlnet": "a Control-LoRA",
    "difference": "a ControlNet stored as a difference from a model",
}
"""Tensor -> what a file is that only looks like a ControlNet."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ControlnetFile:
    """A ControlNet or T2I-Adapter that fits a model. `path` is its folder, or its file.

    `config` is checked; that of a file follows from the model and from the shapes of its tensors.
    The sides of images must be multiples of `cell` pixels.
    """

    path: Path
    files: WeightFiles
    config_file: Path
    config: Mapping[str, Any]
    is_t2i_adapter: bool = False

    @property
    def cell(self) -> int:
        """The pixels of the control image for each cell of what is made of it."""
        return int(self.config["downscale_factor"]) if self.is_t2i_adapter else _CELL

    @property
    def sha256(self) -> str:
        """The SHA-256 of its weights. Raises OSError and CorruptError."""
        return hash_weights(self.files, partial(verified_sha256, COMPONENT))


def find_controlnet(name: str, spec: PipelineSpec) -> Path:
    """Return the folder or file of a ControlNet, downloaded if necessary.

    Raises UnsafeError for a pickle, and ModelError for a name that is not found.
    """
    if is_embedded_addon(name):
        return find_embedded(name, "ControlNet")
    if expand_user(name).exists():
        return own_folder(fetch_controlnet(name, spec))
    if (repo := hub_file(name)) and repo[1]:
        return fetch_hub_file(*repo, offline=spec.offline, kind="ControlNet")
    return own_folder(_fetch(name, spec.variant, spec.offline))


@fetch_once
def _fetch(name: str, variant: str | None, offline: bool) -> Path:
    return fetch_controlnet(name, PipelineSpec(variant=variant, offline=offline))


def own_folder(path: Path) -> Path:
    """Return the folder of the ControlNet in a pipeline that was saved with one, else the path."""
    inner = path / COMPONENT
    return inner if (inner / "config.json").is_file() else path


def is_controlnet(path: Path) -> bool:
    """Whether a file is a ControlNet by its header, or a folder by its configuration."""
    with suppress(OSError, SdcliError):
        if path.is_file():
            other = detect(read_header(path)).other
            return other is not None and other.id == COMPONENT
        config = read_config(own_folder(path) / "config.json", COMPONENT)
        return config.get("_class_name", _CLASS) in (_CLASS, CLASS)
    return False


def read_controlnet(name: str, spec: PipelineSpec) -> ControlnetFile:
    """Read a ControlNet by its headers, and check that it fits the model of the spec.

    Raises ModelError, UnsafeError and CorruptError.
    """
    path = find_controlnet(name, spec)
    return _read(path, files_state(path), spec, local_states(spec))


@lru_cache(maxsize=64)
def _read(path: Path, state: FilesState, spec: PipelineSpec, states: object) -> ControlnetFile:
    del state, states  # files that have changed are read again
    folder = fetch_model(spec)
    own_file = folder / "unet" / "config.json"
    own = read_config(own_file, "unet")
    if is_t2i_adapter(path):
        return _read_adapter(path, spec, own)
    is_folder = path.is_dir()
    files = _folder_weights(path, spec) if is_folder else WeightFiles(path=path, files=(path,))
    header = check_weights(COMPONENT, files)
    found = ControlnetShapes.of({n: tensor.shape for n, tensor in header.tensors.items()})
    _check_kind(path, header, found)
    unet = check_weights("unet", find_model_weights(spec, folder, "unet"))
    config_file = path / "config.json" if is_folder else own_file
    config = read_config(config_file, COMPONENT) if is_folder else _made_config(own, found)
    check_fit(path, spec.model, found, own, unet, config)
    if is_folder:
        check_sizes(COMPONENT, config_file, header)
    else:
        files = _map_file(files, found, config)
    check_shapes(path, spec.model, check_weights(COMPONENT, files), unet)
    return ControlnetFile(path=path, files=files, config_file=config_file, config=config)


def _read_adapter(path: Path, spec: PipelineSpec, own: Mapping[str, Any]) -> ControlnetFile:
    config_file, files = path / "config.json", find_weights(path, COMPONENT, spec.variant)
    config = read_adapter_config(config_file)
    check_adapter(path, spec.model, config, check_weights(COMPONENT, files), own)
    return ControlnetFile(
        path=path, files=files, config_file=config_file, config=config, is_t2i_adapter=True
    )


def _folder_weights(path: Path, spec: PipelineSpec) -> WeightFiles:
    if not (path / "config.json").is_file() and (path / "model_index.json").is_file():
        raise _wrong_kind_error(path, _WORDS["model"], option_hint("model"))
    config = read_config(path / "config.json", COMPONENT)
    name = config.get("_class_name", _CLASS)
    if name != _CLASS:
        raise _wrong_kind_error(path, f"of the class {shorten(name)}", None)
    return find_weights(path, COMPONENT, spec.variant)


def _check_kind(path: Path, header: SafetensorsHeader, found: ControlnetShapes) -> None:
    """Raise ModelError for weights of anything but a ControlNet."""
    for name, kind in _VARIANTS.items():
        if name in found.shapes:
            raise _wrong_kind_error(path, f"{kind}, which sdcli cannot use", None)
    detection = detect(header, path)
    if detection.other is None or detection.other.id != COMPONENT:
        kind = detection.other.id if detection.other else detection.kind
        if kind == "t2i-adapter":
            hint = "use its folder of Diffusers, which has a config.json"
            raise _wrong_kind_error(path, "a T2I-Adapter in one file", hint)
        raise _wrong_kind_error(path, _kind_words(detection), option_hint(kind))


def _kind_words(detection: Detection) -> str:
    if detection.other:
        return detection.other.name
    return _WORDS.get(detection.kind, "of an unknown kind")


def _made_config(own: Mapping[str, Any], found: ControlnetShapes) -> dict[str, Any]:
    """Return the configuration of a ControlNet in a file, which is that of the model's UNet."""
    config = {key: value for key, value in own.items() if key != "_class_name"}
    return {
        **config,
        "in_channels": found.latent_channels,
        "conditioning_channels": found.image_channels,
        "conditioning_embedding_out_channels": found.embedding_widths,
    }


def _map_file(
    files: WeightFiles, found: ControlnetShapes, config: Mapping[str, Any]
) -> WeightFiles:
    """Return the file with the sources of the tensors. Raises CorruptError and ModelError."""
    sources = found.sources(config)
    known = {source.name.removeprefix(found.prefix) for source in sources.values()}
    if missing := [name for name in known if name not in found.shapes]:
        raise CorruptError(
            f"{files.path} lacks {name_some(sorted(missing))}",
            code="model.corrupt",
            hint="download the file again; one of another shape must be a folder with config.json",
        )
    if extra := [name for name in found.shapes if name not in known]:
        raise ModelError(
            f"{files.path} has tensors of no part of a ControlNet: {name_some(extra)}",
            code="model.wrong_kind",
            hint="sdcli inspect FILE tells what it is",
        )
    return replace(files, sources=sources)


def _wrong_kind_error(path: Path, kind: str, hint: str | None) -> ModelError:
    return ModelError(
        f"{path} is {kind}, not a ControlNet",
        code="model.wrong_kind",
        hint=hint or "use a ControlNet of Stable Diffusion 1, 2 or XL",
    )
