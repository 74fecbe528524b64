"""Read which classes model_index.json gives to the components, and compare their own files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from sdcli.checkpoints.component_configs import ignored_keys
from sdcli.checkpoints.json_files import read_json, shorten
from sdcli.errors import CorruptError, ModelError, did_you_mean

PIPELINE: Final = "StableDiffusionPipeline"
XL_PIPELINE: Final = "StableDiffusionXLPipeline"
XL_REFINER_PIPELINE: Final = "StableDiffusionXLImg2ImgPipeline"
_XL_INPAINT_PIPELINE: Final = "StableDiffusionXLInpaintPipeline"

_TEXT_ENCODERS: Final = {
    PIPELINE: ("text_encoder",),
    "StableDiffusionImg2ImgPipeline": ("text_encoder",),
    "StableDiffusionInpaintPipeline": ("text_encoder",),
    XL_PIPELINE: ("text_encoder", "text_encoder_2"),
    _XL_INPAINT_PIPELINE: ("text_encoder", "text_encoder_2"),
    XL_REFINER_PIPELINE: ("text_encoder", "text_encoder_2"),
}
"""The text encoders of each class of pipeline that sdcli loads."""

_CONFIG_FILES: Final = {
    "unet": "config.json",
    "vae": "config.json",
    "text_encoder": "config.json",
    "text_encoder_2": "config.json",
    "scheduler": "scheduler_config.json",
}
_TOKENIZER_CLASSES: Final = ("transformers", ("CLIPTokenizer", "CLIPTokenizerFast"))
_CLASSES: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "unet": ("diffusers", ("UNet2DConditionModel",)),
    "vae": ("diffusers", ()),
    "text_encoder": ("transformers", ("CLIPTextModel",)),
    "text_encoder_2": ("transformers", ("CLIPTextModelWithProjection",)),
    "scheduler": ("diffusers", ()),
    "tokenizer": _TOKENIZER_CLASSES,
    "tokenizer_2": _TOKENIZER_CLASSES,
}
"""The library of a component, and the classes of it that sdcli loads; none are named here for those
that are looked up elsewhere."""

_ENTRIES: Final = frozenset(
    {*_CONFIG_FILES, "tokenizer", "tokenizer_2", "safety_checker", "feature_extractor"}
    | {"image_encoder", "requires_safety_checker", "requires_aesthetics_score"}
    | {"force_zeros_for_empty_prompt"}
)
"""The parameters of the pipeline's constructor."""

_TOKENIZERS: Final = ("tokenizer", "tokenizer_2")
_NOTED_FILES: Final = {**_CONFIG_FILES, **dict.fromkeys(_TOKENIZERS, "tokenizer_config.json")}
_HINT: Final = "use a Stable Diffusion 1, 2 or XL text-to-image model"


def check_pipeline(folder: Path) -> str:
    """Return the class of the pipeline in the folder. Raises ModelError if it is not supported."""
    index = read_json(folder / "model_index.json")
    class_name = index.get("_class_name")
    if not isinstance(class_name, str) or class_name not in _TEXT_ENCODERS:
        raise ModelError(
            f"{folder / 'model_index.json'}: the class of the pipeline, _class_name, is "
            f"{shorten(class_name)}; sdcli needs {PIPELINE} or {XL_PIPELINE}",
            code="model.family",
            hint=_HINT,
        )
    optional = _optional_components(class_name)
    encoders = _TEXT_ENCODERS[class_name]
    needed = {"unet", "vae", "scheduler", *encoders, *map(_tokenizer_of, encoders)}
    for component in _CLASSES:
        is_there = index.get(component, [None, None]) != [None, None]
        if is_there or (component in needed and component not in optional):
            _check_entry(folder, component, index.get(component))
    return str(class_name)


def is_xl(folder: Path) -> bool:
    """Return whether the model has the inputs of Stable Diffusion XL. Raises ModelError."""
    return len(_TEXT_ENCODERS[check_pipeline(folder)]) > 1


def _optional_components(class_name: str) -> tuple[str, ...]:
    # The refiner of Stable Diffusion XL has the second of the two text encoders only.
    return ("text_encoder", "tokenizer") if class_name == XL_REFINER_PIPELINE else ()


def find_text_encoders(folder: Path) -> tuple[str, ...]:
    """Return the text encoders of the model, in the order in which the pipeline uses them.

    Raises ModelError for a pipeline that is not supported.
    """
    class_name = check_pipeline(folder)
    index = read_json(folder / "model_index.json")
    optional = _optional_components(class_name)
    return tuple(
        name
        for name in _TEXT_ENCODERS[class_name]
        if name not in optional or index.get(name, [None, None]) != [None, None]
    )


def find_tokenizers(folder: Path) -> tuple[str, ...]:
    """Return the tokenizers of the model, one for each of `find_text_encoders`."""
    encoders = find_text_encoders(folder)
    return tuple(map(_tokenizer_of, encoders))


def _tokenizer_of(encoder: str) -> str:
    return encoder.replace("text_encoder", "tokenizer")


def _check_entry(folder: Path, component: str, entry: Any) -> None:
    shown = "missing" if entry is None else shorten(entry)
    where = f"{folder / 'model_index.json'}: {component} is {shown}"
    entry = [None, None] if entry is None else entry
    is_pair = isinstance(entry, list) and len(entry) == 2
    if not is_pair or not all(isinstance(part, str | None) for part in entry):
        raise CorruptError(f"{where}; it must be a library and a class", code="model.corrupt")
    library, classes = _CLASSES[component]
    # A name of anything but the library would be a module of the model's own, with its code.
    if entry[0] != library or not entry[1] or (classes and entry[1] not in classes):
        needed = f"{' or '.join(classes) or 'a class'} of {library.title()}"
        raise ModelError(f"{where}; sdcli needs {needed}", code="model.family", hint=_HINT)


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
        yield _disagreement(component, indexed, own)
    yield from _tokenizer_disagreements(folder)


def _tokenizer_disagreements(folder: Path) -> Iterator[str]:
    for component in _TOKENIZERS:
        path = folder / component / _NOTED_FILES[component]
        own = read_json(path).get("tokenizer_class") if path.is_file() else None
        if own and own not in _TOKENIZER_CLASSES[1]:
            indexed = _indexed_class(folder, component) or _TOKENIZER_CLASSES[1][0]
            yield _disagreement(component, indexed, own)


def _disagreement(component: str, indexed: str, own: object) -> str:
    name = own if isinstance(own, str) else shorten(own)
    return (
        f"{component}: model_index.json names {indexed}, but its own file {name}; {indexed} is "
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
    if component.startswith("text_encoder"):
        # Transformers lists the class, or classes, that the weights were saved from.
        architectures = config.get("architectures")
        own = architectures[0] if isinstance(architectures, list) and architectures else None
    else:
        own = config.get("_class_name")
    return own if isinstance(own, str) else None
