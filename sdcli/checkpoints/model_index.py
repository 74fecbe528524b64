"""Read which classes model_index.json gives to the components, and compare their own files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from sdcli.checkpoints.component_configs import ignored_keys
from sdcli.checkpoints.json_files import read_json, shorten
from sdcli.errors import CorruptError, ModelError, did_you_mean

PIPELINE: Final = "StableDiffusionPipeline"

_CONFIG_FILES: Final = {
    "unet": "config.json",
    "vae": "config.json",
    "text_encoder": "config.json",
    "scheduler": "scheduler_config.json",
}
_CLASSES: Final = {"unet": "UNet2DConditionModel", "text_encoder": "CLIPTextModel"}
"""The only class that sdcli loads for a component."""

_ENTRIES: Final = frozenset(
    {*_CONFIG_FILES, "tokenizer", "safety_checker", "feature_extractor", "image_encoder"}
    | {"requires_safety_checker"}
)
"""The parameters of the pipeline's constructor."""

_NOTED_FILES: Final = {**_CONFIG_FILES, "tokenizer": "tokenizer_config.json"}


def check_pipeline(folder: Path) -> None:
    """Raise ModelError unless the folder has a pipeline of the supported classes."""
    index = read_json(folder / "model_index.json")
    class_name = index.get("_class_name")
    if class_name != PIPELINE:
        name = class_name if isinstance(class_name, str) else shorten(class_name)
        raise ModelError(
            f"{folder}: a {name}; sdcli needs a {PIPELINE}",
            code="model.family",
            hint="use a Stable Diffusion 1 or 2 text-to-image model",
        )
    for component in (*_CONFIG_FILES, "tokenizer"):
        if component in index:
            _check_entry(folder, component, index[component])


def _check_entry(folder: Path, component: str, entry: Any) -> None:
    where = f"{folder / 'model_index.json'}: {component} is {shorten(entry)}"
    is_pair = isinstance(entry, list) and len(entry) == 2
    if not is_pair or not all(isinstance(part, str | None) for part in entry):
        raise CorruptError(f"{where}; it must be a library and a class", code="model.corrupt")
    needed = _CLASSES.get(component)
    # A name of anything but a library would be a module of the model's own, with its code.
    if entry[0] not in ("diffusers", "transformers") or (needed and entry[1] != needed):
        raise ModelError(
            where + (f"; sdcli needs {needed}" if needed else "; sdcli needs a class of Diffusers"),
            code="model.family",
            hint="use a Stable Diffusion 1 or 2 text-to-image model",
        )


def class_of(folder: Path, component: str) -> str | None:
    """Return the class that Diffusers loads the component with, None if no file names it.

    It is that of model_index.json, whatever the component's own file says.
    """
    return _indexed_class(folder, component) or _own_class(folder, component)


def find_notes(folder: Path) -> tuple[str, ...]:
    """Return sentences about entries of the folder's files that have no effect."""
    return (*_unused_entries(folder), *_disagreements(folder), *_ignored(folder))


def disagreeing_classes(folder: Path) -> dict[str, tuple[str, str]]:
    """Return component -> (class of model_index.json, class of its own file) where they differ."""
    pairs = {
        name: (_indexed_class(folder, name), _own_class(folder, name)) for name in _CONFIG_FILES
    }
    return {
        name: (indexed, own)
        for name, (indexed, own) in pairs.items()
        if indexed and own and indexed != own
    }


def _unused_entries(folder: Path) -> Iterator[str]:
    path = folder / "model_index.json"
    for name, entry in read_json(path).items() if path.is_file() else ():
        if name.startswith("_") or name in _ENTRIES or not (entry and entry != [None, None]):
            continue
        hint = did_you_mean(name, _ENTRIES)
        yield f"model_index.json: {shorten(name)} is ignored: {PIPELINE} has no such part" + (
            f"; {hint}" if hint else ""
        )


def _disagreements(folder: Path) -> Iterator[str]:
    for component, (indexed, own) in disagreeing_classes(folder).items():
        yield (
            f"{component}: model_index.json names {indexed}, but its own file {own}; {indexed} is "
            "used, as in Diffusers"
        )


def _ignored(folder: Path) -> Iterator[str]:
    for component, name in _NOTED_FILES.items():
        path = folder / component / name
        if path.is_file() and (keys := ignored_keys(path)):
            yield f"{component}: {name}: {', '.join(keys)} ignored, which could load code or files"


def _indexed_class(folder: Path, component: str) -> str | None:
    path = folder / "model_index.json"
    entry = read_json(path).get(component) if path.is_file() else None
    return str(entry[1]) if isinstance(entry, list) and len(entry) == 2 and entry[1] else None


def _own_class(folder: Path, component: str) -> str | None:
    path = folder / component / _CONFIG_FILES[component]
    config = read_json(path) if path.is_file() else {}
    if component == "text_encoder":
        # Transformers lists the class, or classes, that the weights were saved from.
        architectures = config.get("architectures")
        own = architectures[0] if isinstance(architectures, list) and architectures else None
    else:
        own = config.get("_class_name")
    return own if isinstance(own, str) else None
