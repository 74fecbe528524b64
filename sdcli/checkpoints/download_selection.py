"""Select the files of a repository on the Hugging Face Hub that are downloaded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from sdcli.checkpoints.locate import Kind
from sdcli.checkpoints.weight_files import (
    PICKLE_SUFFIXES,
    STEMS,
    choose_files,
    stem_of,
    text_encoder_files,
)
from sdcli.errors import UnsafeError

_PARTS: Final[Mapping[Kind, tuple[str, ...]]] = {
    "VAE": ("vae",),
    "text encoder": ("text_encoder", "tokenizer"),
    "ControlNet": ("controlnet",),
}
"""The folders of a whole model that are needed where it stands for one of its parts."""

_TEXT_FILES: Final = re.compile(
    r"(model_index|config|sdcli)\.json"
    r"|(unet|vae|text_encoder(_2)?)/config\.json"
    r"|(scheduler|tokenizer(_2)?)/[\w.-]+\.(json|txt)"
)


def select_files(listed: Sequence[str], variant: str | None, kind: Kind) -> list[str]:
    """Select the files to download; of a whole model in place of a part, only that part."""
    if kind == "text encoder" and (names := text_encoder_files(listed, variant)):
        return names
    names = needed_files(listed, variant)
    if kind == "ControlNet":
        names += _controlnet_files(listed, variant)
    if kind not in _PARTS or "model_index.json" not in names:
        return names
    return [name for name in names if Path(name).parts[0] in (name, *_PARTS[kind])]


def refuse_pickles(repo: str, listed: Sequence[str], needed: Sequence[str], kind: Kind) -> None:
    """Raise UnsafeError for a component that the repository has as pickles only."""
    for component in _PARTS.get(kind, tuple(STEMS)):
        files = [name for name in listed if name.startswith(f"{component}/")]
        _refuse_pickles(repo, component, files, {*files} & {*needed})
    has_weights = any(name.endswith(".safetensors") for name in needed)
    if kind in _PARTS and not has_weights and "model_index.json" not in listed:
        top = [name for name in listed if "/" not in name]
        _refuse_pickles(repo, "weights", top, top)


def _refuse_pickles(repo: str, part: str, files: Sequence[str], loadable: Iterable[str]) -> None:
    pickles = [name for name in files if name.endswith(PICKLE_SUFFIXES)]
    if pickles and not any(name.endswith(".safetensors") for name in loadable):
        raise UnsafeError(
            f"{repo} has its {part} as a pickle only, which can run code when it is loaded",
            code="model.pickle",
            hint=f"sdcli models pull {repo} --file {pickles[0]}, then sdcli models convert",
        )


def needed_files(names: Iterable[str], variant: str | None) -> list[str]:
    """Select the files to download from a repository's file names.

    These are the configurations, the tokenizer and one weight file for each component.
    """
    names = list(names)
    selected = [name for name in names if _TEXT_FILES.fullmatch(name)]
    stems = {f"{component}/": stem for component, stem in STEMS.items()}
    if "model_index.json" not in names:  # a repository that holds only a VAE, at its top level
        stems[""] = STEMS["vae"]
    for folder, stem in stems.items():
        selected += _weights_in(folder, stem, names, variant)
    return selected


def _weights_in(folder: str, stem: str, names: Sequence[str], variant: str | None) -> list[str]:
    files = [name.removeprefix(folder) for name in names if name.startswith(folder)]
    return [folder + file for file in choose_files(files, stem, variant)]


def _controlnet_files(names: Sequence[str], variant: str | None) -> list[str]:
    """Select the files of the ControlNet in a pipeline that was saved with it."""
    config = [name for name in names if name == "controlnet/config.json"]
    return [*config, *_weights_in("controlnet/", stem_of("controlnet"), names, variant)]
