"""Scores of attention maps against the true places of things in the embedded model's images.

`python -m tests.attention.truth 100` prints the figures of the manual.
"""

from __future__ import annotations

import random
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from sdcli.attention import AttentionSelection
from sdcli.request import GenerationRequest
from sdcli.training.concepts import COLORS, OBJECTS, SHAPES
from sdcli.workflows.measure_attention import AttentionOptions, measure

_THINGS = [concept.name for concept in OBJECTS if " " not in concept.name]
_GROUNDS = [color for color in COLORS if color not in ("white", "gray")]
# Each phrase with where its first thing is: not all are left or above, which a guess could use.
_PHRASES = (
    ("a {} and a {}", "left"),
    ("a {} and a {}", "left"),
    ("a {} to the left of a {}", "left"),
    ("a {} to the right of a {}", "right"),
    ("a {} above a {}", "top"),
    ("a {} below a {}", "bottom"),
)
_OTHER_SIDE = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}
_HALVES = {
    "left": np.s_[:, :64], "right": np.s_[:, 64:], "top": np.s_[:64], "bottom": np.s_[64:],
}  # fmt: skip


@dataclass(frozen=True)
class Scores:
    """One word of one image: whether its map is higher on its own thing than on the other one,
    the AUC of its thing's pixels against all others, and the part of the map that is on it."""

    pair: bool
    auc: float
    mass: float


def noun_prompts(count: int, seed: int) -> list[tuple[str, tuple[str, str], str]]:
    """Prompts of two things, the two words, and the side of the first."""
    rng = random.Random(seed)
    found = []
    for number in range(count):
        phrase, side = _PHRASES[number % len(_PHRASES)]
        first, second = rng.sample(_THINGS, 2)
        prompt = f"{phrase.format(first, second)} on a {rng.choice(_GROUNDS)} background"
        found.append((prompt, (first, second), side))
    return found


def color_prompts(count: int, seed: int) -> list[tuple[str, tuple[str, str], str]]:
    """Prompts of two coloured shapes, the two colours, and the side of the first."""
    rng = random.Random(seed)
    found = []
    colors = [color for color in COLORS if color not in ("white", "gray")]
    for _ in range(count):
        (one, two), (first, second) = rng.sample(colors, 2), rng.sample(list(SHAPES), 2)
        found.append((f"a {one} {first} and a {two} {second}", (one, two), "left"))
    return found


def thing_mask(pixels: Any, side: str) -> Any:
    """The pixels in one half that are not of the colour of the ground, which the border shows."""
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    ground = np.median(border, axis=0)
    mask = np.zeros(pixels.shape[:2], bool)
    half = _HALVES[side]
    mask[half] = (np.abs(pixels.astype(float) - ground).max(-1) > 45)[half]
    return mask


def enlarge(heat: Any) -> Any:
    image = Image.fromarray(np.asarray(heat, np.float32))
    return np.asarray(image.resize((128, 128), Image.Resampling.BICUBIC))


def score(heat: Any, own: Any, other: Any) -> Scores:
    values = enlarge(heat)
    ranks = values.ravel().argsort().argsort() + 1.0
    inside = own.ravel()
    n, rest = int(inside.sum()), int((~inside).sum())
    auc = (ranks[inside].sum() - n * (n + 1) / 2) / (n * rest)
    positive = values.clip(0)
    return Scores(
        pair=bool(values[own].mean() > values[other].mean()),
        auc=float(auc),
        mass=float(positive[own].sum() / max(positive.sum(), 1e-12)),
    )


@dataclass(frozen=True)
class Case:
    """The maps of two words, and the masks of their things."""

    heats: tuple[Any, Any]
    masks: tuple[Any, Any]


def cases(
    prompts: list[tuple[str, tuple[str, str], str]], *, causal: bool, seed: int
) -> list[Case]:
    """Measure every prompt; without those of a thing that is as pale as its ground."""
    found = []
    for number, (prompt, words, side) in enumerate(prompts):
        measured = measure(
            GenerationRequest(prompt=prompt, seed=seed + number),
            AttentionOptions(selection=AttentionSelection(words=words), causal=causal),
        )
        masks = (
            thing_mask(measured.pixels, side),
            thing_mask(measured.pixels, _OTHER_SIDE[side]),
        )
        if min(mask.sum() for mask in masks) >= 150:
            found.append(Case((measured.words[0].map, measured.words[1].map), masks))
    return found


def own_scores(measured: list[Case]) -> list[Scores]:
    return [
        score(case.heats[i], case.masks[i], case.masks[1 - i]) for case in measured for i in (0, 1)
    ]


def shuffled_scores(measured: list[Case], seed: int) -> list[Scores]:
    """The control: each thing with the map of any word of another image."""
    rng = random.Random(seed)
    found = []
    for number, case in enumerate(measured):
        for i in (0, 1):
            other = (number + rng.randrange(1, len(measured))) % len(measured)
            heat = measured[other].heats[rng.randrange(2)]
            found.append(score(heat, case.masks[i], case.masks[1 - i]))
    return found


def summary(scores: list[Scores]) -> dict[str, float]:
    return {
        "count": len(scores),
        "pair": float(np.mean([s.pair for s in scores])),
        "auc": float(np.mean([s.auc for s in scores])),
        "mass": float(np.mean([s.mass for s in scores])),
    }


if __name__ == "__main__":
    number = int(sys.argv[1])
    nouns = cases(noun_prompts(number, 20261), causal=False, seed=5000)
    print("nouns", summary(own_scores(nouns)), "control", summary(shuffled_scores(nouns, 1)))
    for name, causal in (("causal", True), ("attention", False)):
        colors = cases(color_prompts(number // 2, 20262), causal=causal, seed=6000)
        scores = own_scores(colors)
        print("colors by", name, summary(scores))
        print("  first", summary(scores[::2]), "second", summary(scores[1::2]))
