"""Find an IP-Adapter, read its header, and check that it fits a model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from sdcli.checkpoints.adapters.lora_names import fetch_hub_file, hub_file
from sdcli.checkpoints.component_configs import read_config
from sdcli.checkpoints.file_hashes import verified_sha256
from sdcli.checkpoints.file_state import cache_by_files
from sdcli.checkpoints.hub import fetch_model
from sdcli.checkpoints.safetensors_header import SafetensorsHeader
from sdcli.checkpoints.single_file.families import TEXT_WIDTHS
from sdcli.checkpoints.single_file.model import find_model_weights
from sdcli.checkpoints.single_file.other_kinds import find_other_kind, option_hint
from sdcli.checkpoints.weight_files import WEIGHT_SUFFIXES
from sdcli.checkpoints.weight_source import (
    SourceTensor,
    WeightSource,
    dangerous_names_error,
    read_weights,
)
from sdcli.checkpoints.weights import check_weights
from sdcli.errors import CorruptError, ModelError, name_some, quoted
from sdcli.inputs.natural_order import natural_key
from sdcli.inputs.paths import expand_user
from sdcli.inputs.regular_file import special_kind
from sdcli.pipeline_spec import PipelineSpec

Variant = Literal["plain", "plus", "full", "faceid", "faceid-plus"]

IMAGE_PART: Final = "image_proj."
LAYER_PART: Final = "ip_adapter."

_KIND: Final = "ip-adapter"
_FLOATS: Final = frozenset({"F16", "BF16", "F32", "F64"})
_VARIANTS: Final[tuple[tuple[str, Variant], ...]] = (
    ("proj.weight", "plain"),
    ("proj.3.weight", "full"),
    ("perceiver_resampler.proj_in.weight", "faceid-plus"),
    ("norm.weight", "faceid"),
    ("proj_in.weight", "plus"),
)
"""Tensor of the image part -> the variant that has it, in the order in which Diffusers asks."""

_WIDTHS: Final[Mapping[Variant, tuple[tuple[str, int], tuple[str, int], int]]] = {
    "plain": (("proj.weight", 1), ("proj.weight", 0), 4),
    "full": (("proj.0.weight", 1), ("proj.2.weight", 0), 1),
    "plus": (("proj_in.weight", 1), ("proj_out.weight", 0), 1),
}
"""The tensor and side with the width of the image embeddings; those with the width of the text
embeddings; and how often the latter has it."""

_IMAGE_NAMES: Final[Mapping[Variant, frozenset[str]]] = {
    "plain": frozenset({"proj.weight", "proj.bias", "norm.weight", "norm.bias"}),
    "full": frozenset(f"proj.{layer}.{leaf}" for layer in (0, 2, 3) for leaf in ("weight", "bias")),
}
"""All tensors of the image part; those of a plus IP-Adapter differ in number."""

_BLOCKS: Final = ("down_blocks.", "up_blocks.", "mid_block.")
"""The order in which the layers of a UNet are numbered, from 1 in steps of 2."""

_TO_KEY: Final = re.compile(r"(\d{1,5})\.to_k_ip\.weight")
_LAYER_KEYS: Final = ("to_k_ip", "to_v_ip")


@dataclass(frozen=True, kw_only=True, eq=False)
class IpAdapterFile:
    """The tensors of an IP-Adapter: those that read an image, and those of the UNet's layers.

    The `variant` is None for one that is not known.
    """

    path: Path
    variant: Variant | None
    image: Mapping[str, SourceTensor]
    layers: Mapping[str, SourceTensor]

    @classmethod
    def of(cls, source: WeightSource) -> IpAdapterFile:
        """Sort the tensors of a file."""
        image, layers = (
            {n.removeprefix(p): t for n, t in source.tensors.items() if n.startswith(p)}
            for p in (IMAGE_PART, LAYER_PART)
        )
        variant = next((variant for name, variant in _VARIANTS if name in image), None)
        return cls(path=source.path, variant=variant, image=image, layers=layers)

    @property
    def sha256(self) -> str:
        """The SHA-256 of the file. Raises OSError and CorruptError."""
        return verified_sha256("ip_adapter", self.path)

    @property
    def image_width(self) -> int | None:
        """The width of the embeddings of images that it takes."""
        if self.variant is None or self.variant not in _WIDTHS:
            return None
        (name, side), _, _ = _WIDTHS[self.variant]
        return side_of(self.image, name, side)

    @property
    def text_width(self) -> int | None:
        """The width of the text embeddings of the model that it is made for."""
        first = next((n for n in self.layers if n.endswith("to_k_ip.weight")), "")
        return side_of(self.layers, first, 1)

    @property
    def layer_count(self) -> int:
        """The cross-attention layers that it changes."""
        return sum(1 for name in self.layers if _TO_KEY.fullmatch(name))


def side_of(tensors: Mapping[str, SourceTensor], name: str, side: int) -> int | None:
    """Return a side of a matrix, None without such a matrix."""
    shape = tensors[name].shape if name in tensors else ()
    return shape[side] if len(shape) == 2 else None


def find_ip_adapter(name: str, spec: PipelineSpec) -> Path:
    """Return the file of an IP-Adapter, downloaded if necessary. Raises ModelError."""
    path = expand_user(name)
    if path.is_dir():
        raise ModelError(
            f"{path} is a folder, and an IP-Adapter is one file",
            code="model.not_a_file",
            hint="name the .safetensors or .bin file in it",
        )
    if special := special_kind(path):
        raise ModelError(f"{path} is {special}, not an IP-Adapter", code="model.not_a_file")
    if path.is_file():
        if path.suffix.lower() in WEIGHT_SUFFIXES:
            return path
        raise ModelError(f"{path} is not a .safetensors or .bin file", code="model.not_a_file")
    if repo := hub_file(name):
        return fetch_hub_file(*repo, offline=spec.offline, kind="IP-Adapter")
    raise ModelError(
        f"no IP-Adapter at {quoted(name)}",
        code="model.not_found",
        hint="use a .safetensors or .bin file, or owner/name/FILE.safetensors on the hub",
    )


def read_ip_adapter(name: str, spec: PipelineSpec) -> IpAdapterFile:
    """Read the header of an IP-Adapter, and check that it fits the model of the spec.

    Nothing in a pickle is run. Raises ModelError, UnsafeError and CorruptError.
    """
    file = open_ip_adapter(find_ip_adapter(name, spec))
    folder = fetch_model(spec)
    config = read_config(folder / "unet" / "config.json", "unet")
    if config.get("encoder_hid_dim_type") is not None:
        raise _misfit_error(file, spec.model, "its UNet changes its prompts already")
    _check_fit(file, spec.model, _layer_shapes(spec, folder))
    return file


@cache_by_files
def open_ip_adapter(path: Path) -> IpAdapterFile:
    """Read the header of a file that is an IP-Adapter of a kind that sdcli can use."""
    source = read_weights(path)
    if source.names and (error := dangerous_names_error(path, source.names)):
        raise error
    file = IpAdapterFile.of(source)
    if not file.image or not file.layers:
        raise _kind_error(path, source.tensors)
    if extra := [name for name in source.tensors if not name.startswith((IMAGE_PART, LAYER_PART))]:
        raise _unknown_tensors_error(path, extra)
    for name, tensor in source.tensors.items():
        if tensor.dtype not in _FLOATS:
            raise ModelError(
                f"{path}: {name} holds {tensor.dtype}, not floating-point numbers",
                code="model.quantized",
            )
    _check_variant(file)
    return file


def _check_variant(file: IpAdapterFile) -> None:
    """Raise ModelError for a variant that needs more than CLIP, CorruptError for no known one."""
    if file.variant in ("faceid", "faceid-plus"):
        raise ModelError(
            f"{file.path} is a FaceID IP-Adapter, whose images a model for faces must read",
            code="model.wrong_kind",
            hint="use a plain, plus, plus-face or full-face one, which read images with CLIP",
        )
    if file.variant is None:
        raise _incomplete_error(file.path, "the tensors that read an image")
    names = _IMAGE_NAMES.get(file.variant, frozenset(file.image))
    if missing := sorted(names - file.image.keys()):
        raise _incomplete_error(file.path, IMAGE_PART + missing[0])
    if extra := sorted(file.image.keys() - names):
        raise _unknown_tensors_error(file.path, [IMAGE_PART + name for name in extra])
    if not (file.image_width and file.text_width):
        raise _incomplete_error(file.path, "matrices of the usual shapes")


def _layer_shapes(spec: PipelineSpec, folder: Path) -> list[tuple[int, int]]:
    """Return the shape of to_k in each cross-attention layer of the UNet, in Diffusers' order."""
    unet = check_weights("unet", find_model_weights(spec, folder, "unet"))
    names = [name for name in unet.tensors if name.endswith("attn2.to_k.weight")]
    names.sort(key=lambda name: (_block_of(name), natural_key(name)))
    return [_matrix(unet, name) for name in names]


def _block_of(name: str) -> int:
    return next((i for i, start in enumerate(_BLOCKS) if name.startswith(start)), len(_BLOCKS))


def _matrix(unet: SafetensorsHeader, name: str) -> tuple[int, int]:
    shape = unet.tensors[name].shape
    return shape[0], shape[-1]


def _check_fit(file: IpAdapterFile, model: str, shapes: list[tuple[int, int]]) -> None:
    """Raise ModelError for a file of another family, or with layers of other sizes."""
    width = shapes[0][1] if shapes else None
    if file.text_width != width:
        family = TEXT_WIDTHS.get(file.text_width or 0)
        named = f" ({family})" if family else ""
        raise _misfit_error(
            file,
            model,
            f"it is made for text embeddings of width {file.text_width}{named}, and this model "
            f"has {width}",
        )
    if file.layer_count != len(shapes):
        raise _misfit_error(
            file,
            model,
            f"it has {file.layer_count} layers, and the UNet has {len(shapes)} layers of "
            "cross-attention",
        )
    expected = {
        f"{2 * index + 1}.{key}.weight": shape
        for index, shape in enumerate(shapes)
        for key in _LAYER_KEYS
    }
    for name, shape in expected.items():
        found = file.layers[name].shape if name in file.layers else None
        if found is None:
            raise _incomplete_error(file.path, LAYER_PART + name)
        if found != shape:
            sizes = f"{'x'.join(map(str, found))}, and the UNet needs {'x'.join(map(str, shape))}"
            raise _misfit_error(file, model, f"{LAYER_PART}{name} is {sizes}")
    if extra := file.layers.keys() - expected.keys():
        raise _misfit_error(file, model, f"the UNet has no place for {name_some(sorted(extra))}")
    _check_image_part(file, model)


def _check_image_part(file: IpAdapterFile, model: str) -> None:
    assert file.variant is not None
    _, (name, side), times = _WIDTHS[file.variant]
    made = side_of(file.image, name, side)
    if made != times * (file.text_width or 0):
        raise _misfit_error(
            file,
            model,
            f"{IMAGE_PART}{name} has {made} rows, and {times * (file.text_width or 0)} are needed",
        )


def _kind_error(path: Path, tensors: Mapping[str, SourceTensor]) -> ModelError:
    other = find_other_kind({name: tensor.shape for name, tensor in tensors.items()})
    if other and other[0].id == _KIND:
        other = None  # a part of one
    what = other[0].name if other else "of an unknown kind"
    return ModelError(
        f"{path} is {what}, not an IP-Adapter",
        code="model.wrong_kind",
        hint=(option_hint(other[0].id) if other else None)
        or "an IP-Adapter has tensors named image_proj.… and ip_adapter.…",
    )


def _misfit_error(file: IpAdapterFile, model: str, reason: str) -> ModelError:
    return ModelError(
        f"{file.path} is an IP-Adapter that does not fit {model}: {reason}",
        code="model.ip_adapter_family",
        hint="use an IP-Adapter of the model's family (sdcli inspect FILE names it)",
    )


def _unknown_tensors_error(path: Path, names: list[str]) -> ModelError:
    return ModelError(
        f"{path} has tensors of no part of an IP-Adapter: {name_some(names)}",
        code="model.wrong_kind",
        hint="sdcli inspect FILE tells what it is",
    )


def _incomplete_error(path: Path, what: str) -> CorruptError:
    return CorruptError(f"{path} lacks {what}", code="model.corrupt", hint="download it again")
