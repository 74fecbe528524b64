"""Check that an embedding fits the text encoders of a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sdcli.checkpoints.adapters.embedding_file import ONLY, XL_KEYS, EmbeddingFile
from sdcli.checkpoints.component_configs import read_config
from sdcli.checkpoints.model_index import find_text_encoders
from sdcli.checkpoints.single_file.families import TEXT_WIDTHS
from sdcli.errors import ModelError

_XL: Final = TEXT_WIDTHS[2048]
_SECOND: Final = "text_encoder_2"
_DEFAULT_WIDTH: Final = 512
"""That of Transformers' CLIPTextConfig."""


def keys_of(encoders: Sequence[str]) -> tuple[str, ...]:
    """Return the keys of an EmbeddingFile that the text encoders of a model need."""
    if _SECOND not in encoders:
        return (ONLY,)
    # A refiner of Stable Diffusion XL has the second text encoder only.
    return tuple(XL_KEYS[name == _SECOND] for name in encoders)


def check_fit(file: EmbeddingFile, model: str, folder: Path) -> None:
    """Raise ModelError unless the file has vectors of the right width for each text encoder."""
    encoders = find_text_encoders(folder)
    widths = {
        key: int(
            read_config(folder / name / "config.json", name).get("hidden_size", _DEFAULT_WIDTH)
        )
        for key, name in zip(keys_of(encoders), encoders, strict=True)
    }
    if not widths.keys() <= file.tensors.keys():
        raise _misfit_error(file, model, _kind_of(file), _kinds_of(widths))
    for key, width in widths.items():
        own = file.tensors[key].shape[-1]
        if own != width:
            family = TEXT_WIDTHS.get(own) if key == ONLY else None
            raise _misfit_error(
                file,
                model,
                f"its vectors are {own} wide" + (f" ({family})" if family else ""),
                f"takes {width}",
            )


def _kind_of(file: EmbeddingFile) -> str:
    if ONLY not in file.tensors:
        return f"it is for the two text encoders of {_XL}"
    [width] = file.widths
    family = TEXT_WIDTHS.get(width)
    return f"it is for one text encoder of width {width}" + (f" ({family})" if family else "")


def _kinds_of(widths: dict[str, int]) -> str:
    if ONLY in widths:
        return f"has one, of width {widths[ONLY]}"
    return f"is {_XL}, which needs {' and '.join(widths)}"


def _misfit_error(file: EmbeddingFile, model: str, reason: str, model_reason: str) -> ModelError:
    return ModelError(
        f"{file.path.name} is an embedding for another model: {reason}, and {model} {model_reason}",
        code="model.embedding_family",
        hint="use an embedding of its family (sdcli inspect FILE names that), or leave it out",
    )
