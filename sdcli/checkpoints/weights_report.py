"""Describe a file of weights from its header: the kind, family, parts, sizes and metadata."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sdcli.checkpoints.addon_facts import read_addon_facts
from sdcli.checkpoints.pickles.globals_report import GlobalsReport
from sdcli.checkpoints.safetensors_header import SafetensorsHeader, TensorInfo
from sdcli.checkpoints.single_file.configurations import component_configs, default_settings
from sdcli.checkpoints.single_file.detection import Detection, detect
from sdcli.checkpoints.single_file.families import Family
from sdcli.checkpoints.single_file.published import identify
from sdcli.checkpoints.single_file.training import Prediction
from sdcli.checkpoints.weight_source import WeightSource, read_weights

_LATENT_PIXELS: Final = 8
"""Pixels of the image for each latent, in each direction."""

_KIND_NAMES: Final = {
    "model": "a Stable Diffusion model",
    "ema": "a Stable Diffusion model without its plain weights",
    "vae": "a VAE",
    "text_encoder": "a text encoder",
    "unknown": "weights of an unknown kind",
}


@dataclass(frozen=True, kw_only=True)
class PartSize:
    """A part of a model in the file. `bytes_by_dtype` also tells the dtypes."""

    name: str
    tensors: int
    parameters: int
    bytes_by_dtype: Mapping[str, int]

    @property
    def bytes(self) -> int:
        """The size of all tensors."""
        return sum(self.bytes_by_dtype.values())


@dataclass(frozen=True, kw_only=True)
class WeightsReport:
    """A file of weights.

    Attributes:
        format: "safetensors" or "pickle".
        kind: "model", "vae", "text_encoder", "lora" and so on; `kind_name` for people.
        family, task: None if unknown.
        reasons: sentences that say why the file is of that kind and family.
        prediction: what the UNet predicts, and how sure that is.
        defaults: the settings that sdcli would choose.
        addon: facts about a LoRA or an embedding, such as its rank.
        unused: tensors of no part.
        metadata: the file's own, all of it.
        names: the globals that a pickle would import.
        dropped: what a pickle has besides tensors.
    """

    path: Path
    format: str
    kind: str
    kind_name: str
    family: str | None
    task: str | None
    supported: bool
    reasons: tuple[str, ...]
    prediction: Prediction | None
    distillation: str | None
    parts: tuple[PartSize, ...]
    defaults: Mapping[str, Any]
    addon: Mapping[str, Any]
    unused: tuple[str, ...]
    metadata: Mapping[str, str]
    names: GlobalsReport | None
    dropped: Mapping[str, str]


def report_weights(path: Path) -> WeightsReport:
    """Read a file's header, or its pickle without running it, and describe it.

    Raises CorruptError for damaged files and other kinds of files, and UnsafeError for pickles that
    cannot be read safely.
    """
    source = read_weights(path)
    header = _header(source)
    found = identify(detect(header, path), path, reads=False)
    return WeightsReport(
        path=path,
        format="safetensors" if source.names is None else "pickle",
        kind=found.other.id if found.other else found.kind,
        kind_name=found.other.name if found.other else _KIND_NAMES[found.kind],
        family=found.family.name if found.family else None,
        task=_task(found.family) if found.family else None,
        supported=bool(found.family and found.family.supported),
        reasons=found.reasons,
        prediction=found.prediction,
        distillation=found.distillation.kind if found.distillation else None,
        parts=tuple(_parts(found, header)),
        defaults=_defaults(found),
        addon=read_addon_facts(found, source),
        unused=found.other_names if found.parts and not found.other else (),
        metadata=source.metadata,
        names=source.names,
        dropped=source.dropped,
    )


def _header(source: WeightSource) -> SafetensorsHeader:
    """The tensors of any source as those of a header, without their places."""
    return SafetensorsHeader(
        tensors={
            name: TensorInfo(dtype=t.dtype, shape=t.shape, begin=0, end=t.byte_count)
            for name, t in source.tensors.items()
        },
        metadata=source.metadata,
    )


def _parts(found: Detection, header: SafetensorsHeader) -> Iterable[PartSize]:
    # Some add-ons have tensors with the names of a UNet.
    if not found.parts or found.other:
        return [_measure("tensors", header.tensors, header)]
    rest = set(header.tensors).difference(*(part.names for part in found.parts.values()))
    parts = [_measure(name, part.names, header) for name, part in found.parts.items()]
    return [*parts, *([_measure("other", rest, header)] if rest else [])]


def _measure(name: str, names: Iterable[str], header: SafetensorsHeader) -> PartSize:
    tensors = [header.tensors[key] for key in names]
    sizes: dict[str, int] = {}
    for tensor in tensors:
        sizes[tensor.dtype] = sizes.get(tensor.dtype, 0) + tensor.end - tensor.begin
    return PartSize(
        name=name,
        tensors=len(tensors),
        parameters=sum(math.prod(tensor.shape) for tensor in tensors),
        bytes_by_dtype=dict(sorted(sizes.items())),
    )


def _task(family: Family) -> str:
    is_refiner = family.base == "sdxl-refiner" and family.task == "text-to-image"
    return "refinement" if is_refiner else family.task


def _defaults(found: Detection) -> Mapping[str, Any]:
    if not (found.family and found.family.supported and found.prediction):
        return {}
    facts = (found.family, found.prediction, found.distillation)
    side = _LATENT_PIXELS * component_configs(*facts)["unet"]["sample_size"]
    settings = {"width": side, "height": side, **default_settings(*facts)}
    return {name: value for name, value in settings.items() if name != "family"}
