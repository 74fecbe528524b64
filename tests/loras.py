"""Small random LoRAs in every public format, with the changes that each makes by hand."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import save_file
from torch import Tensor

Changes = dict[tuple[str, str], Tensor]
"""What is added to the parameters, by component and by the parameter's name in Diffusers."""

RANK, ALPHA = 4, 2.0
_LAYERS: Final = r"(to_[qkv]|to_out\.0|proj_in|ff\.net\.2|resnets\.\d+\.conv1|time_emb_proj)$"
_TEXT: Final = r"layers\.0\.(self_attn\.(q_proj|out_proj)|mlp\.fc1)$"


@dataclass
class WrittenLora:
    """The tensors of a file, and the changes that they mean."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    changes: Changes = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)

    def save(self, path: Path) -> Path:
        """Write the file."""
        tensors = {name: tensor.contiguous().clone() for name, tensor in self.tensors.items()}
        save_file(tensors, path, self.metadata or None)
        return path


def layers_of(pipeline: Any) -> Iterator[tuple[str, str, Tensor]]:
    """Yield component, name and weight of the layers that the files change."""
    patterns = {"unet": _LAYERS, "text_encoder": _TEXT, "text_encoder_2": _TEXT}
    for component, pattern in patterns.items():
        network = getattr(pipeline, component, None)
        for name, module in network.named_modules() if network is not None else ():
            if re.search(pattern, name):
                yield component, name, module.weight.detach().float()


class Random:
    """Random matrices, the same for each seed."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator) * 0.2


def kohya_key(component: str, name: str, *, has_two: bool) -> str:
    """The name of a layer in a file of sd-scripts."""
    name = name.replace(".", "_")
    if component == "unet":
        return f"lora_unet_{name}"
    text = name if name.startswith("text_model") else f"text_model_{name}"
    number = {"text_encoder": "1", "text_encoder_2": "2"}[component] if has_two else ""
    return f"lora_te{number}_{text}"


Format = Callable[[Random, str, Tensor], tuple[dict[str, Tensor], Tensor]]
"""Returns the tensors of a layer by the end of their names, and its change."""


def plain(random: Random, name: str, weight: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """Kohya's LoRA, of convolutions LoCon, with another alpha for each layer."""
    alpha = ALPHA + len(name) % 3
    outputs, inputs, *kernel = weight.shape
    down, up = random(RANK, inputs, *kernel), random(outputs, RANK, *[1] * len(kernel))
    change = torch.zeros_like(weight)
    for r in range(RANK):
        change += up[:, r].reshape(-1, *[1] * (weight.ndim - 1)) * down[r][None]
    parts = {".lora_down.weight": down, ".lora_up.weight": up, ".alpha": torch.tensor(alpha)}
    return parts, change * (alpha / RANK)


def without_alpha(random: Random, name: str, weight: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """A file without alphas: the change is not scaled."""
    parts, change = plain(random, name, weight)
    alpha = float(parts.pop(".alpha"))
    return parts, change * (RANK / alpha)


def dora(
    random: Random, name: str, weight: Tensor, inner: Format | None = None
) -> tuple[dict[str, Tensor], Tensor]:
    """DoRA by rows, as newer versions of LyCORIS write it, of any kind."""
    parts, change = (inner or plain)(random, name, weight)
    rows = (weight + change).flatten(1)
    scale = weight.flatten(1).norm(dim=1) * 1.1 + 0.1
    parts[".dora_scale"] = scale.reshape(-1, *[1] * (weight.ndim - 1))
    made = torch.stack([row / row.norm() * s for row, s in zip(rows, scale, strict=True)])
    return parts, made.view(weight.shape) - weight


def dora_by_columns(random: Random, name: str, weight: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """DoRA by columns, as older versions of LyCORIS write it."""
    parts, change = plain(random, name, weight)
    columns = (weight + change).transpose(0, 1)
    scale = weight.transpose(0, 1).flatten(1).norm(dim=1) * 0.9 + 0.1
    parts[".dora_scale"] = scale.reshape(1, -1, *[1] * (weight.ndim - 2))
    made = [c / c.norm() * s for c, s in zip(columns, scale, strict=True)]
    return parts, torch.stack(made).transpose(0, 1) - weight


def loha(random: Random, name: str, weight: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """The product of two low-rank matrices, value by value."""
    outputs, columns = weight.shape[0], weight[0].numel()
    a, b, c, d = (random(*s) for s in ((outputs, RANK), (RANK, columns)) * 2)
    parts = {".hada_w1_a": a, ".hada_w1_b": b, ".hada_w2_a": c, ".hada_w2_b": d}
    change = (a @ b) * (c @ d) * (ALPHA / RANK)
    return {**parts, ".alpha": torch.tensor(ALPHA)}, change.view(weight.shape)


def lokr(random: Random, name: str, weight: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """The Kronecker product of a small matrix with a low-rank one."""
    outputs, columns = weight.shape[0], weight[0].numel()
    first = random(2, 2)
    a, b = random(outputs // 2, RANK), random(RANK, columns // 2)
    second = (a @ b) * (ALPHA / RANK)
    rows = [torch.cat([first[i, j] * second for j in range(2)], dim=1) for i in range(2)]
    parts = {".lokr_w1": first, ".lokr_w2_a": a, ".lokr_w2_b": b, ".alpha": torch.tensor(ALPHA)}
    return parts, _columns_first(torch.cat(rows), weight)


def _columns_first(change: Tensor, weight: Tensor) -> Tensor:
    # A column of a convolution is one input and one place of the kernel, the kernel last.
    return change.view(weight.shape)


def whole_lokr(random: Random, name: str, weight: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """Two whole factors: there is no rank, and the alpha has no meaning."""
    outputs, inputs, *kernel = weight.shape
    first, second = random(2, 2), random(outputs // 2, inputs // 2, *kernel)
    rows = [torch.cat([first[i, j] * second for j in range(2)], dim=1) for i in range(2)]
    parts = {".lokr_w1": first, ".lokr_w2": second, ".alpha": torch.tensor(1e6)}
    return parts, torch.cat(rows, dim=0)


def ia3(random: Random, name: str, weight: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """(IA)³: a factor for each output, or for each input."""
    is_input = "ff" in name
    scale = random(weight.shape[1] if is_input else weight.shape[0])
    shape = [1] * weight.ndim
    shape[1 if is_input else 0] = -1
    parts = {".weight": scale, ".on_input": torch.tensor(is_input)}
    return parts, weight * scale.view(shape)


def full(random: Random, name: str, weight: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """The difference itself."""
    change = random(*weight.shape)
    return {".diff": change}, change


def cp(random: Random, name: str, weight: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """LoCon with the kernel in a small core of its own; others as usual."""
    if weight.ndim < 4 or weight.shape[-1] == 1:
        return plain(random, name, weight)
    outputs, inputs, *kernel = weight.shape
    down, up, mid = (
        random(RANK, inputs, 1, 1),
        random(outputs, RANK, 1, 1),
        random(RANK, RANK, 3, 3),
    )
    change = torch.zeros(outputs, inputs, *kernel)
    for y in range(kernel[0]):
        for x in range(kernel[1]):
            change[:, :, y, x] = up[:, :, 0, 0] @ mid[:, :, y, x] @ down[:, :, 0, 0]
    parts = {".lora_down.weight": down, ".lora_up.weight": up, ".lora_mid.weight": mid}
    return {**parts, ".alpha": torch.tensor(ALPHA)}, change * (ALPHA / RANK)


KOHYA: Final[Mapping[str, Format]] = {
    "kohya": plain, "without alpha": without_alpha, "DoRA": dora,
    "DoRA by columns": dora_by_columns, "LoHa": loha, "LoKr": lokr, "whole LoKr": whole_lokr,
    "DoRA of LoHa": partial(dora, inner=loha), "DoRA of LoKr": partial(dora, inner=whole_lokr),
    "(IA)3": ia3, "full": full, "CP": cp,
}  # fmt: skip


def write_kohya(pipeline: Any, kind: str = "kohya", seed: int = 0) -> WrittenLora:
    """A file with kohya's names for layers."""
    written, random = WrittenLora(), Random(seed)
    has_two = getattr(pipeline, "text_encoder_2", None) is not None
    for component, name, weight in layers_of(pipeline):
        parts, change = KOHYA[kind](random, name, weight)
        key = kohya_key(component, name, has_two=has_two)
        written.tensors |= {key + end: tensor for end, tensor in parts.items()}
        written.changes[component, f"{name}.weight"] = change
    return written


def write_named(pipeline: Any, naming: str, seed: int = 0) -> WrittenLora:
    """The same changes under the names of another tool."""
    written, random = WrittenLora(), Random(seed)
    for component, name, weight in layers_of(pipeline):
        key = NAMINGS[naming](component, name)
        if key is None:
            continue
        parts, change = plain(random, name, weight)
        down, up = key
        # These files have no alphas: they are in the matrices.
        scale = float(parts[".alpha"]) / RANK
        written.tensors[down] = parts[".lora_down.weight"]
        written.tensors[up] = parts[".lora_up.weight"] * scale
        written.changes[component, f"{name}.weight"] = change
    return written


def _text_name(name: str) -> str:
    return name if name.startswith("text_model") else f"text_model.{name}"


def _peft(component: str, name: str) -> tuple[str, str]:
    layer = f"{component}.{name if component == 'unet' else _text_name(name)}"
    return f"{layer}.lora_A.weight", f"{layer}.lora_B.weight"


def _old_diffusers(component: str, name: str) -> tuple[str, str] | None:
    if component == "unet":
        if not (match := re.search(r"(.*attn\d)\.(to_[qkv]|to_out)(\.0)?$", name)):
            return None
        layer = f"unet.{match[1]}.processor.{match[2]}_lora"
        return f"{layer}.down.weight", f"{layer}.up.weight"
    layer = f"{component}.{_text_name(name)}.lora_linear_layer"
    return f"{layer}.down.weight", f"{layer}.up.weight"


def _old_attention(component: str, name: str) -> tuple[str, str] | None:
    if component != "unet" or not (found := _old_diffusers(component, name)):
        return None
    down, up = (key.removeprefix("unet.") for key in found)
    return down, up


def _bare(component: str, name: str) -> tuple[str, str] | None:
    return (f"{name}.lora_A.weight", f"{name}.lora_B.weight") if component == "unet" else None


def _own_peft(component: str, name: str) -> tuple[str, str] | None:
    found = _bare(component, name)
    return (f"base_model.model.{found[0]}", f"base_model.model.{found[1]}") if found else None


def _own_text_peft(component: str, name: str) -> tuple[str, str] | None:
    if component != "text_encoder":
        return None
    layer = f"base_model.model.{_text_name(name)}"
    return f"{layer}.lora_A.default.weight", f"{layer}.lora_B.default.weight"


NAMINGS: Final[Mapping[str, Callable[[str, str], tuple[str, str] | None]]] = {
    "Diffusers": _peft, "old Diffusers": _old_diffusers, "old attention": _old_attention,
    "bare": _bare, "PEFT": _own_peft, "PEFT of a text encoder": _own_text_peft,
}  # fmt: skip


def change_by_hand(pipeline: Any, changes: Changes, weight: float = 1.0) -> None:
    """Add changes to the parameters of a pipeline of Diffusers."""
    with torch.no_grad():
        for (component, name), change in changes.items():
            parameter = getattr(pipeline, component).get_parameter(name)
            parameter.add_(weight * change.to(parameter.dtype))
