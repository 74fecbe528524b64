"""Find and check the files of a CLIP model, as Transformers saves one, without loading it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sdcli.checkpoints.component_configs import read_config
from sdcli.checkpoints.json_files import read_json
from sdcli.checkpoints.weight_files import CLIP_MODEL, WeightFiles
from sdcli.checkpoints.weights import check_weights, find_weights
from sdcli.errors import CorruptError, ModelError

_CONFIG: Final = "config.json"
# Transformers 5 saves the second, which has the settings of all preprocessing.
_PREPROCESSORS: Final = ("preprocessor_config.json", "processor_config.json")
_IMAGE_KEYS: Final = frozenset(
    {
        "crop_size", "do_center_crop", "do_convert_rgb", "do_normalize", "do_rescale",
        "do_resize", "image_mean", "image_std", "resample", "rescale_factor", "size",
    }
)  # fmt: skip
_HINT: Final = (
    "give the folder of a CLIP model of Transformers, with config.json, model.safetensors, "
    "preprocessor_config.json and the tokenizer's files"
)


@dataclass(frozen=True, kw_only=True)
class ClipFiles:
    """The checked files of a CLIP model. `preprocessing` is how it wants its images."""

    folder: Path
    config: Mapping[str, Any]
    preprocessing: Mapping[str, Any]
    weights: WeightFiles

    @property
    def config_file(self) -> Path:
        """The file of `config`."""
        return self.folder / _CONFIG


def find_clip(folder: Path) -> ClipFiles:
    """Return the files of the CLIP model in a folder.

    Raises ModelError for a folder without one, UnsafeError for pickled weights, and CorruptError.
    """
    path = folder / _CONFIG
    if not path.is_file():
        problem = "no config.json in it" if folder.is_dir() else "no such folder"
        raise ModelError(f"{folder}: {problem}", code="model.not_found", hint=_HINT)
    config = read_config(path, CLIP_MODEL)
    if config.get("model_type") != "clip":
        raise ModelError(
            f"{path}: model_type is {config.get('model_type')!r}, not 'clip'",
            code="model.unsupported",
            hint=_HINT,
        )
    weights = find_weights(folder, CLIP_MODEL, None)
    check_weights(CLIP_MODEL, weights)
    return ClipFiles(
        folder=folder,
        config=config | {key: _half(config, path, key) for key in ("text_config", "vision_config")},
        preprocessing=_read_preprocessing(folder),
        weights=weights,
    )


def _half(config: Mapping[str, Any], path: Path, key: str) -> dict[str, Any]:
    """The configuration of the text or the vision half; older files have it in two parts."""
    parts = [config.get(name) or {} for name in (key, f"{key}_dict")]
    if not any(parts):
        raise CorruptError(f"{path}: no {key}", code="model.corrupt", hint=_HINT)
    return {name: value for part in parts for name, value in part.items()}


def _read_preprocessing(folder: Path) -> dict[str, Any]:
    paths = [folder / name for name in _PREPROCESSORS if (folder / name).is_file()]
    if not paths:
        raise ModelError(
            f"{folder}: no preprocessor_config.json in it", code="model.incomplete", hint=_HINT
        )
    content = read_json(paths[0])
    settings = content.get("image_processor", content)
    if not isinstance(settings, dict):
        raise CorruptError(f"{paths[0]}: image_processor is no object", code="model.corrupt")
    return {key: value for key, value in settings.items() if key in _IMAGE_KEYS}
