"""Match the tensors of a LoRA to the layers of a model, by its header alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Final

from sdcli.checkpoints.adapters.lora_alpha import read_alphas
from sdcli.checkpoints.adapters.lora_keys import split_key, split_layer
from sdcli.checkpoints.adapters.model_layers import ModelLayers, read_layers
from sdcli.checkpoints.recorded import local_states
from sdcli.checkpoints.safetensors_header import SafetensorsHeader, TensorInfo, read_header
from sdcli.checkpoints.single_file.families import TEXT_WIDTHS
from sdcli.checkpoints.single_file.other_kinds import find_other_kind, option_hint
from sdcli.errors import CorruptError, ModelError
from sdcli.pipeline_spec import PipelineSpec

Parts = dict[str, str]
"""The tensors of one layer by their part in it: "down", "up", "alpha"."""

_FIRST: Final = ("lokr_w1", "lokr_w1_a")
_SECOND: Final = ("lokr_w2", "lokr_w2_a")
_PAIRS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("down", ("up",)), ("up", ("down",)), ("mid", ("down",)),
    ("magnitude", ("down", "hada_w1_a", *_FIRST)),
    ("on_input", ("ia3",)), ("ia3", ("on_input",)),
    ("hada_w1_a", ("hada_w1_b",)), ("hada_w1_b", ("hada_w2_a",)),
    ("hada_w2_a", ("hada_w2_b",)), ("hada_w2_b", ("hada_w1_a",)),
    ("hada_t1", ("hada_w1_a",)), ("hada_t2", ("hada_w2_a",)),
    ("lokr_w1", _SECOND), ("lokr_w1_a", _SECOND), ("lokr_w2", _FIRST), ("lokr_w2_a", _FIRST),
    ("lokr_w1_a", ("lokr_w1_b",)), ("lokr_w1_b", ("lokr_w1_a",)),
    ("lokr_w2_a", ("lokr_w2_b",)), ("lokr_w2_b", ("lokr_w2_a",)), ("lokr_t2", ("lokr_w2_a",)),
)  # fmt: skip
"""Parts that mean nothing without one of the others."""

_MOST_NAMES: Final = 4
_ADD_ONS: Final = ("controlnet", "ip-adapter")


@dataclass(frozen=True, kw_only=True)
class LoraLayer:
    """The change of one layer: its component and name, and its tensors by their part.

    `alpha` is that of the file's metadata; a tensor of the layer's own counts first.
    """

    component: str
    name: str
    parts: Mapping[str, str]
    alpha: float | None = None
    uses_sqrt_rank: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class MatchedLora:
    """A LoRA whose layers a model has; `unmatched` are the tensors that belong to none of them."""

    path: Path
    layers: tuple[LoraLayer, ...]
    tensors: int
    unmatched: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)

    def note(self) -> str | None:
        """A sentence about tensors that are not used, None if all are."""
        if not self.unmatched:
            return None
        return (
            f"{self.path.name}: {len(self.unmatched)} of its {self.tensors} tensors belong to no "
            f"layer of this model and are not used: {_some(self.unmatched)}"
        )


def match_to_model(path: Path, digest: str, spec: PipelineSpec) -> MatchedLora:
    """Match the file, whose hash is `digest`, to the model of the spec.

    Raises the errors of `match_lora` and `read_layers`.
    """
    return _match_to_model(path, digest, spec, local_states(spec))


@lru_cache(maxsize=64)
def _match_to_model(path: Path, digest: str, spec: PipelineSpec, states: object) -> MatchedLora:
    del digest, states  # files that have changed are read again
    return match_lora(path, spec.model, read_layers(spec))


def match_lora(path: Path, model: str, layers: ModelLayers) -> MatchedLora:
    """Match the file to the layers of `model`.

    Raises CorruptError for a damaged file or one with half of a pair, and ModelError for a file
    that changes nothing in the model, or whose layers have other sizes.
    """
    header = read_header(path)
    alphas = read_alphas(path, header.metadata)
    groups, unmatched = _group(header.tensors, layers)
    found = tuple(
        LoraLayer(
            component=component,
            name=name,
            parts=parts,
            alpha=alphas.of(component, name),
            uses_sqrt_rank=alphas.uses_sqrt_rank,
        )
        for (component, name), parts in sorted(groups.items())
    )
    for layer in found:
        _check_pairs(path, layer)
    _check_sizes(path, model, header, found, layers)
    if not found:
        raise _nothing_matched_error(path, model, header)
    return MatchedLora(
        path=path,
        layers=found,
        tensors=len(header.tensors),
        unmatched=tuple(unmatched),
        metadata=header.metadata,
    )


def _group(
    names: Iterable[str], layers: ModelLayers
) -> tuple[dict[tuple[str, str], Parts], list[str]]:
    """Sort the tensors by the layer that they belong to, and return those that belong to none."""
    groups: dict[tuple[str, str], Parts] = {}
    unmatched = []
    for key in names:
        split = split_key(key)
        layer = _find_layer(split[0], layers) if split else None
        if split is None or layer is None or split[1] in groups.get(layer, ()):
            unmatched.append(key)
        else:
            groups.setdefault(layer, {})[split[1]] = key
    # A plain weight is a part of (IA)³ only where the file says to which side it belongs.
    for layer, parts in list(groups.items()):
        if "ia3" in parts and "on_input" not in parts:
            unmatched.append(parts.pop("ia3"))
        if not parts.keys() - {"alpha"}:
            unmatched += groups.pop(layer).values()
    return groups, unmatched


def _find_layer(written: str, layers: ModelLayers) -> tuple[str, str] | None:
    component, flat = split_layer(written)
    name = layers.spellings.get((component, flat))
    return None if name is None else (component, name)


def _check_pairs(path: Path, layer: LoraLayer) -> None:
    for part, others in _PAIRS:
        if part in layer.parts and not layer.parts.keys() & set(others):
            needed = " or ".join(others)
            raise CorruptError(
                f"{path}: {layer.parts[part]} has no counterpart ({needed}) in the file",
                code="model.corrupt",
                hint="download the file again",
            )


def _check_sizes(
    path: Path,
    model: str,
    header: SafetensorsHeader,
    found: Iterable[LoraLayer],
    layers: ModelLayers,
) -> None:
    """Raise ModelError if a change has not the size of its layer."""
    for layer in found:
        shapes = layers.shapes[layer.component, layer.name]
        for leaf in ("weight", "bias"):
            made = _made_size(layer, header.tensors, leaf)
            expected = math.prod(shapes[leaf]) if leaf in shapes else None
            # Sizes, not shapes: a linear layer's change may be stored as a 1x1 convolution.
            if made is not None and made != expected:
                raise _family_error(path, model, header, layer, layers)


def _made_size(layer: LoraLayer, tensors: Mapping[str, TensorInfo], leaf: str) -> int | None:
    """The number of values that a layer's change has, None if it has none of this parameter."""
    shape = {part: tensors[key].shape for part, key in layer.parts.items()}
    if leaf == "bias":
        return math.prod(shape["diff_b"]) if "diff_b" in shape else None
    if "diff" in shape:
        return math.prod(shape["diff"])
    if "down" in shape:
        kernel = math.prod(shape["mid"][2:]) if "mid" in shape else 1
        down, up = shape["down"], shape["up"]
        if not down or not up:
            return 0
        return math.prod(down[1:]) * up[0] * kernel if up[1:2] == down[:1] else 0
    return None


def _family_error(
    path: Path, model: str, header: SafetensorsHeader, layer: LoraLayer, layers: ModelLayers
) -> ModelError:
    width = _text_width(header)
    key = next(iter(layer.parts.values()))
    if width and width != layers.text_width:
        family = TEXT_WIDTHS.get(width)
        reason = (
            f"it is made for text embeddings of width {width}"
            + (f" ({family})" if family else "")
            + f", and this model has {layers.text_width}"
        )
    else:
        shape = "x".join(map(str, layers.shapes[layer.component, layer.name].get("weight", ())))
        reason = f"{key} does not fit the layer {layer.name} of {shape}"
    return ModelError(
        f"{path.name} is a LoRA for another model than {model}: {reason}",
        code="model.lora_family",
        hint="use a LoRA of the model's family (sdcli inspect FILE names it), or leave it out",
    )


def _text_width(header: SafetensorsHeader) -> int | None:
    """The width of the text embeddings that a LoRA was made for, if it changes cross-attention."""
    for key, tensor in header.tensors.items():
        split = split_key(key)
        if split and split[1] == "down" and len(tensor.shape) in (2, 4):
            layer = split[0].replace(".", "_")
            if layer.endswith(("attn2_to_k", "attn2_to_v", "attn2_processor_to_k")):
                return tensor.shape[1]
    return None


def _nothing_matched_error(path: Path, model: str, header: SafetensorsHeader) -> ModelError:
    shapes = {name: tensor.shape for name, tensor in header.tensors.items()}
    if (other := find_other_kind(shapes)) and other[0].id in _ADD_ONS:
        return ModelError(
            f"{path.name} is {other[0].name}, not a LoRA: it has the tensor {other[1]}",
            code="model.wrong_kind",
            hint=option_hint(other[0].id),
        )
    return ModelError(
        f"{path.name} changes nothing in {model}: none of its {len(header.tensors)} tensors "
        f"belongs to a layer of this model ({_some(list(header.tensors))})",
        code="model.lora_unmatched",
        hint="is it a LoRA of this model's family? sdcli inspect FILE tells what it is",
    )


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - _MOST_NAMES} more" if len(listed) > _MOST_NAMES else ""
    return ", ".join(listed[:_MOST_NAMES]) + more
