"""Read what LoRAs, embeddings, ControlNets and IP-Adapters say about themselves."""

from __future__ import annotations

import json
import re
import struct
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

from sdcli.checkpoints.adapters.controlnet_names import ControlnetShapes
from sdcli.checkpoints.adapters.few_steps import find_few_steps
from sdcli.checkpoints.adapters.ip_adapter_file import IpAdapterFile
from sdcli.checkpoints.adapters.lora_keys import split_key, split_layer
from sdcli.checkpoints.single_file.detection import Detection
from sdcli.checkpoints.single_file.families import TEXT_WIDTHS
from sdcli.checkpoints.weight_source import SourceTensor, WeightSource

_DOWN: Final = re.compile(r"(lora_down|lora_A|lora\.down|lora_linear_layer\.down)(\.\w+)?\.weight$")
_CROSS: Final = re.compile(r"attn2[._](processor[._])?to_k")
_RANK_ONE_NAMES: Final = ("hada_w1_b", "lokr_w1_b", "lokr_w2_b")
_ALGORITHMS: Final = (
    ("hada_w1_a", "LoHa"), ("lokr_w1", "LoKr"), ("dora_scale", "DoRA"),
    ("lora_magnitude_vector", "DoRA"), ("lora_mid", "LoCon"),
)  # fmt: skip
# The second text encoder of Stable Diffusion XL, which its refiner has as well, is 1280 wide.
_TEXT_WIDTHS: Final = {**TEXT_WIDTHS, 1280: TEXT_WIDTHS[2048]}
_BASE_KEYS: Final = ("ss_base_model_version", "modelspec.architecture", "ss_sd_model_name")
_TRIGGER_KEYS: Final = ("modelspec.trigger_phrase", "ss_trigger_words", "trigger_words")
_MAX_WORDS: Final = 8
# bfloat16 is the upper half of float32.
_FORMATS: Final = {"F16": "<e", "F32": "<f", "F64": "<d", "BF16": "<f"}


def read_addon_facts(found: Detection, source: WeightSource) -> Mapping[str, Any]:
    """Return the rank, base and trigger words of a LoRA, and the like of other add-ons."""
    kind = found.other.id if found.other else None
    if kind == "lora":
        return _lora_facts(source)
    if kind == "embedding":
        return _embedding_facts(source)
    if kind == "controlnet":
        return _controlnet_facts(source)
    if kind == "ip-adapter":
        return _ip_adapter_facts(source)
    return {}


def _lora_facts(source: WeightSource) -> Mapping[str, Any]:
    tensors = source.tensors
    ranks = Counter(_ranks(tensors))
    alphas = Counter(
        value
        for name, tensor in tensors.items()
        if name.endswith(".alpha") and (value := _number(tensor)) is not None
    )
    algorithm = next(
        (name for piece, name in _ALGORITHMS if any(piece in key for key in tensors)), "LoRA"
    )
    layers = _count_layers(tensors)
    few = find_few_steps((source.path.stem,), source.metadata)
    return {
        "algorithm": algorithm,
        "ranks": sorted(ranks),
        "alphas": sorted(alphas),
        "layers": layers,
        "changes_text_encoder": any(name.startswith("text_encoder") for name in layers),
        "base": _base(source),
        "few_steps": few and few.name,
        "trigger_words": _trigger_words(source.metadata),
    }


def _count_layers(names: Iterable[str]) -> dict[str, int]:
    """The number of layers that a LoRA changes in each component."""
    splits = (split_key(name) for name in names)
    layers = {split_layer(split[0]) for split in splits if split}
    return dict(sorted(Counter(component for component, _ in layers).items()))


def _ranks(tensors: Mapping[str, SourceTensor]) -> list[int]:
    found = []
    for name, tensor in tensors.items():
        if tensor.shape and (_DOWN.search(name) or name.endswith(_RANK_ONE_NAMES)):
            found.append(tensor.shape[0])
    return found


def _base(source: WeightSource) -> str | None:
    """The family by the width of the text embeddings, or else as the metadata names it."""
    for name, tensor in source.tensors.items():
        is_cross = _CROSS.search(name) and _DOWN.search(name) and len(tensor.shape) == 2
        if is_cross and (known := _TEXT_WIDTHS.get(tensor.shape[1])):
            return known
    return next((source.metadata[key] for key in _BASE_KEYS if source.metadata.get(key)), None)


def _trigger_words(metadata: Mapping[str, str]) -> list[str]:
    """The words that the author names, or else the most frequent tags of the training pictures."""
    for key in _TRIGGER_KEYS:
        if phrase := metadata.get(key, "").strip():
            return [phrase]
    counts: Counter[str] = Counter()
    try:
        folders = json.loads(metadata.get("ss_tag_frequency", "{}"))
        for tags in folders.values():
            counts.update({str(tag).strip(): int(count) for tag, count in tags.items()})
    # The metadata is anybody's.
    except (ValueError, AttributeError, TypeError, RecursionError, OverflowError):
        return []
    return [tag for tag, _ in counts.most_common(_MAX_WORDS)]


def _embedding_facts(source: WeightSource) -> Mapping[str, Any]:
    shapes = {name: t.shape for name, t in source.tensors.items() if len(t.shape) in (1, 2)}
    widths = sorted({shape[-1] for shape in shapes.values()})
    bases = sorted({_TEXT_WIDTHS[width] for width in widths if width in _TEXT_WIDTHS})
    is_xl = "clip_g" in shapes
    return {
        "vectors": max((1 if len(s) == 1 else s[0] for s in shapes.values()), default=None),
        "widths": widths,
        "base": "Stable Diffusion XL" if is_xl else bases[0] if len(bases) == 1 else None,
        "trigger_words": [source.path.stem],
    }


def _controlnet_facts(source: WeightSource) -> Mapping[str, Any]:
    found = ControlnetShapes.of({name: t.shape for name, t in source.tensors.items()})
    width = found.text_width
    return {
        "base": TEXT_WIDTHS.get(width) if width else None,
        "text_width": width,
        "image_channels": found.image_channels,
        "layout": found.layout,
    }


def _ip_adapter_facts(source: WeightSource) -> Mapping[str, Any]:
    file = IpAdapterFile.of(source)
    return {
        "base": TEXT_WIDTHS.get(file.text_width) if file.text_width else None,
        "variant": file.variant,
        "text_width": file.text_width,
        "image_width": file.image_width,
        "layers": file.layer_count,
    }


def _number(tensor: SourceTensor) -> float | None:
    """The value of a tensor with a single number."""
    if tensor.shape not in ((), (1,)) or tensor.dtype not in _FORMATS:
        return None
    data = b"".join(tensor.chunks())
    if tensor.dtype == "BF16":
        data = b"\0\0" + data
    return float(struct.unpack(_FORMATS[tensor.dtype], data)[0])
