"""Find what a model was trained to predict, and whether it was distilled to few steps."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from sdcli.checkpoints.single_file.families import Family

Certainty = Literal["stated", "usual", "guessed"]
"""Whether the file says it, nearly all models of the family have it, or it is a guess."""

_SPELLINGS: Final[Mapping[str, str]] = {
    "eps": "epsilon",
    "epsilon": "epsilon",
    "v": "v_prediction",
    "v_prediction": "v_prediction",
    "v-prediction": "v_prediction",
    "velocity": "v_prediction",
    "x0": "sample",
    "sample": "sample",
}
_METADATA_KEYS: Final = ("modelspec.prediction_type", "prediction_type")
_MAX_YAML_BYTES: Final = 1 << 17

# Of Stable Diffusion 2, both kinds were published with the same tensors.
_EPSILON_NAME: Final = re.compile(
    r"(?<![0-9])512(?![0-9])|(?<![a-z])(base|eps(ilon)?)(?![a-z])", re.IGNORECASE
)

_DISTILLATIONS: Final[Mapping[str, re.Pattern[str]]] = {
    "turbo": re.compile(r"\bturbo\b", re.IGNORECASE),
    "lightning": re.compile(r"\blightning\b", re.IGNORECASE),
    "lcm": re.compile(r"\blcm\b", re.IGNORECASE),
}
_DISTILLATION_KEYS: Final = ("modelspec.architecture", "modelspec.title", "modelspec.tags")


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What the UNet predicts: a prediction type of Diffusers, and how that is known.

    `zero_snr` tells that the file is marked as trained down to a signal-to-noise ratio of zero.
    """

    type: str
    certainty: Certainty
    reason: str
    zero_snr: bool = False


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """How a model was made to need few steps: "turbo", "lightning" or "lcm"."""

    kind: str
    reason: str


def find_prediction(
    names: frozenset[str],
    metadata: Mapping[str, str],
    family: Family | None,
    path: Path | None,
    distillation: Distillation | None = None,
) -> Prediction:
    """Return the prediction type by the file's markers, its metadata or the YAML file beside it.

    If none of them says anything, it is the usual one of the family.
    """
    if "v_pred" in names:
        return Prediction(
            type="v_prediction",
            certainty="stated",
            reason="the file has the marker tensor v_pred",
            zero_snr="ztsnr" in names,
        )
    for key in _METADATA_KEYS:
        if kind := _SPELLINGS.get(metadata.get(key, "").strip().lower()):
            reason = f"the file's metadata has {key} {metadata[key]}"
            return Prediction(
                type=kind, certainty="stated", reason=reason, zero_snr="ztsnr" in names
            )
    if path and (kind := _read_parameterization(path.with_suffix(".yaml"))):
        return Prediction(
            type=kind,
            certainty="stated",
            reason=f"{path.with_suffix('.yaml').name} says so",
            zero_snr="ztsnr" in names,
        )
    return _assume_prediction(family, path, distillation)


def find_distillation(names: frozenset[str], metadata: Mapping[str, str]) -> Distillation | None:
    """Return the distillation that the file's metadata or tensors tell, None if they tell none."""
    for key in _DISTILLATION_KEYS:
        for kind, pattern in _DISTILLATIONS.items():
            if pattern.search(metadata.get(key, "").replace("-", " ").replace("_", " ")):
                reason = f"the file's metadata has {key} {metadata[key]}"
                return Distillation(kind=kind, reason=reason)
    if any(name.endswith("time_embedding.cond_proj.weight") for name in names):
        return Distillation(kind="lcm", reason="the UNet takes the guidance scale as an input")
    return None


def _assume_prediction(
    family: Family | None, path: Path | None, distillation: Distillation | None
) -> Prediction:
    # SD-Turbo is the one distilled model of Stable Diffusion 2.
    if family is None or family.id != "sd2" or distillation:
        return Prediction(
            type="epsilon",
            certainty="usual" if family else "guessed",
            reason="usual for this family" if family else "the family is unknown",
        )
    if path and _EPSILON_NAME.search(path.stem):
        return Prediction(type="epsilon", certainty="guessed", reason="by the file's name")
    reason = "Stable Diffusion 2 has both kinds, and the file doesn't say which it is"
    return Prediction(type="v_prediction", certainty="guessed", reason=reason)


def _read_parameterization(path: Path) -> str | None:
    """Return the prediction type in the configuration of the original code, None without one."""
    if not path.is_file():
        return None
    # Few files have one, and every start would pay for the import.
    import yaml

    try:
        if path.stat().st_size > _MAX_YAML_BYTES:
            return None
        data: Any = yaml.safe_load(path.read_text("utf-8-sig"))
    # A file of that name may have any contents.
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return None
    for keys in (("model", "params", "parameterization"), ("parameterization",)):
        if isinstance(value := _dig(data, keys), str):
            return _SPELLINGS.get(value.lower())
    scaling = ("model", "params", "denoiser_config", "params", "scaling_config", "target")
    target = _dig(data, scaling)
    if isinstance(target, str):
        return "v_prediction" if target.endswith("VScaling") else "epsilon"
    is_model = isinstance(_dig(data, ("model", "params")), dict)
    # The original code predicts the noise unless its configuration says otherwise.
    return "epsilon" if is_model and _dig(data, ("model", "params", "linear_start")) else None


def _dig(data: Any, keys: tuple[str, ...]) -> Any:
    for key in keys:
        data = data.get(key) if isinstance(data, dict) else None
    return data
