"""Generate the prompts of the evaluation, with combinations that are held out from training.

The list depends only on a seed. ``TEST`` is used for the published figures alone. Settings such as
guidance, steps and scheduler are chosen on ``TUNING``.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator

from sdcli.training.captions import article
from sdcli.training.concepts import BACKGROUNDS, CONCEPTS, SCENERY, Concept, takes_article
from sdcli.training.scenes import Scene, is_held_out, sample, sample_held_out

TEST, TUNING = 20_261_122, 7
COUNTS = {
    "single": 124,
    "scenery": 40,
    "and": 80,
    "left/right": 60,
    "above/below": 60,
    "binding": 60,
    "unnamed": 60,
    "plural": 40,
    "three": 40,
}
_SCENERY_WORDS = {
    "mountain": "on a snowy mountain",
    "snow": "in the snow",
    "beach": "on a beach",
    "night sky": "in the night sky",
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A prompt and the scene that it describes. ``named`` tells whether it names the background."""

    kind: str
    prompt: str
    scene: Scene
    named: bool = True


def noun_phrase(concept: Concept) -> str:
    """Return the name of an object with its article."""
    return f"{article(concept.name)} {concept.name}" if takes_article(concept) else concept.name


def background_phrase(background: str) -> str:
    """Return the words that describe a background in a prompt."""
    return _SCENERY_WORDS.get(background) or f"on {article(background)} {background} background"


def _single_scenes(rng: Generator) -> Iterator[Scene]:
    """Yield every class once, on a background that is held out for it if there is one."""
    for concept in CONCEPTS:
        backgrounds = [b for b in rng.permutation(BACKGROUNDS) if b != CONCEPTS[concept].color]
        for background in (*backgrounds, backgrounds[0]):
            scene = sample(rng, layout="single", background=str(background))
            box = scene.placements[0]
            placement = replace(box, concept=concept)
            scene = Scene(placements=(placement,), layout="single", background=str(background))
            if is_held_out(scene):
                break
        yield scene


def _is_of_kind(kind: str, scene: Scene) -> bool:
    concepts = [CONCEPTS[p.concept] for p in scene.placements]
    if kind == "scenery":
        return scene.background in SCENERY
    if kind == "binding":
        colors, shapes = {c.color for c in concepts}, {c.shape for c in concepts}
        return None not in colors and len(colors) == 2 and len(shapes) == 2
    if kind == "unnamed":
        return scene.background == "white"
    return True


_LAYOUTS = {
    "and": "row",
    "left/right": "row",
    "above/below": "column",
    "binding": "row",
    "plural": "many",
    "three": "triple",
}


def _make_prompt(rng: Generator, kind: str, scene: Scene) -> str:
    nouns = [noun_phrase(CONCEPTS[p.concept]) for p in scene.placements]
    if kind == "plural":
        return f"two {CONCEPTS[scene.placements[0].concept].plural}"
    if kind == "three":
        return f"{nouns[0]}, {nouns[1]} and {nouns[2]}"
    if len(nouns) == 1:
        return nouns[0]
    first, second = nouns
    phrases = {
        "left/right": (f"{first} to the left of {second}", f"{second} to the right of {first}"),
        "above/below": (f"{first} above {second}", f"{second} below {first}"),
    }.get(kind, (f"{first} and {second}",))
    return phrases[int(rng.integers(len(phrases)))]


def _scenes(rng: Generator, kind: str) -> Iterator[Scene]:
    if kind == "single":
        yield from _single_scenes(rng)
    while True:
        layout = _LAYOUTS.get(kind, "single")
        if kind in ("unnamed", "scenery"):
            layout = "single" if rng.random() < 0.5 else "row"
        scene = (
            sample_held_out(rng, layout=layout) if kind != "unnamed" else sample(rng, layout=layout)
        )
        if _is_of_kind(kind, scene) and (kind != "plural" or len(scene.placements) == 2):
            yield scene


def build_cases(seed: int = TEST) -> list[Case]:
    """Return all cases, each with a different prompt."""
    rng = np.random.default_rng(seed)
    cases: dict[str, Case] = {}
    for kind, count in COUNTS.items():
        total = len(cases) + count
        for scene in _scenes(rng, kind):
            named = kind != "unnamed"
            prompt = _make_prompt(rng, kind, scene) + (
                f" {background_phrase(scene.background)}" if named else ""
            )
            cases.setdefault(prompt, Case(kind=kind, prompt=prompt, scene=scene, named=named))
            if len(cases) == total:
                break
    return list(cases.values())
