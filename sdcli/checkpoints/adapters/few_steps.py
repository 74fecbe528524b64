"""List the settings of models and LoRAs that need few steps, and recognise such LoRAs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

NO_GUIDANCE: Final = 1.0


@dataclass(frozen=True, kw_only=True)
class FewSteps:
    """The settings of a distillation. A guidance of None leaves that of the model."""

    name: str
    scheduler: str
    num_inference_steps: int
    guidance_scale: float | None = NO_GUIDANCE


_TRAILING: Final = "timestep_spacing=trailing"
TURBO: Final = FewSteps(name="Turbo", scheduler=f"Euler a;{_TRAILING}", num_inference_steps=4)
LIGHTNING: Final = FewSteps(name="Lightning", scheduler=f"Euler;{_TRAILING}", num_inference_steps=8)
TRAJECTORY: Final = FewSteps(
    name="trajectory distillation", scheduler=f"DDIM;{_TRAILING}", num_inference_steps=4
)
LCM: Final = FewSteps(name="LCM", scheduler="LCM", num_inference_steps=6)

_KINDS: Final = (
    (r"dmd ?2", FewSteps(name="DMD2", scheduler="LCM", num_inference_steps=4)),
    (r"hyper ?sd(xl|15|21)?",
     FewSteps(name="Hyper-SD", scheduler=f"DDIM;{_TRAILING}", num_inference_steps=8)),
    (r"lightning", LIGHTNING),
    (r"lcm", LCM),
    (r"tcd", FewSteps(name="TCD", scheduler="TCD", num_inference_steps=4)),
    (r"turbo", TURBO),
    (r"trajectory distillation", TRAJECTORY),
)  # fmt: skip
"""Words in names -> settings. The first that fits counts: some names have several."""

_PATTERNS: Final = tuple(
    (re.compile(rf"(?<![a-z]){word}(?![a-z])", re.IGNORECASE), kind) for word, kind in _KINDS
)
# A number above 20 is more likely the steps of the training.
_STEPS: Final = re.compile(r"(?<![0-9])([1-9]|1[0-9]|20)\W?steps?(?![a-z])", re.IGNORECASE)
_KEEPS_GUIDANCE: Final = re.compile(r"(?<![a-z])cfg(?![a-z])", re.IGNORECASE)
_KEYS: Final = ("modelspec.architecture", "modelspec.title", "modelspec.tags", "ss_output_name")


def find_few_steps(names: tuple[str, ...], metadata: Mapping[str, str]) -> FewSteps | None:
    """Return the settings of a LoRA by its names, such as that of its file, or by its metadata."""
    for text in (*names, *(metadata.get(key, "") for key in _KEYS)):
        words = re.sub(r"[_/.-]+", " ", text)
        for pattern, kind in _PATTERNS:
            if pattern.search(words):
                return _adapt(kind, words)
    return None


def _adapt(kind: FewSteps, words: str) -> FewSteps:
    """The settings with the steps that a name tells: "SDXL-Lightning-4step"."""
    steps = _STEPS.search(words)
    # Some distillations also come in a version that still takes guidance, named CFG.
    keeps = bool(_KEEPS_GUIDANCE.search(words))
    return FewSteps(
        name=kind.name,
        scheduler=kind.scheduler,
        num_inference_steps=int(steps[1]) if steps else kind.num_inference_steps,
        guidance_scale=None if keeps else kind.guidance_scale,
    )
