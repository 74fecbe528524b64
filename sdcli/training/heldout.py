"""The prompts of the evaluation: only combinations that training never saw.

The list is a function of a seed. ``TEST`` is for the figures that are published and for nothing
else; settings (guidance, steps, scheduler) are chosen on ``TUNING``.
"""

from collections.abc import Iterator
from dataclasses import dataclass

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
    """A prompt and the scene it asks for; ``named`` is whether it names the background."""

    kind: str
    prompt: str
    scene: Scene
    named: bool = True


def noun_phrase(concept: Concept) -> str:
    """The thing with its article."""
    return f"{article(concept.name)} {concept.name}" if takes_article(concept) else concept.name


def background_phrase(background: str) -> str:
    """The words for a background."""
    return _SCENERY_WORDS.get(background) or f"on {article(background)} {background} background"


def _singles(rng: Generator) -> Iterator[Scene]:
    """Every class once, on a background it was never seen on where there is one."""
    for concept in CONCEPTS:
        grounds = [b for b in rng.permutation(BACKGROUNDS) if b != CONCEPTS[concept].color]
        for ground in (*grounds, grounds[0]):
            scene = sample(rng, layout="single", background=str(ground))
            box = scene.placements[0]
            wanted = type(box)(concept=concept, left=box.left, top=box.top, size=box.size)
            scene = Scene(placements=(wanted,), layout="single", background=str(ground))
            if is_held_out(scene):
                break
        yield scene


def _wanted(kind: str, scene: Scene) -> bool:
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


def _sentence(rng: Generator, kind: str, scene: Scene) -> str:
    things = [noun_phrase(CONCEPTS[p.concept]) for p in scene.placements]
    if kind == "plural":
        return f"two {CONCEPTS[scene.placements[0].concept].plural}"
    if kind == "three":
        return f"{things[0]}, {things[1]} and {things[2]}"
    if len(things) == 1:
        return things[0]
    first, second = things
    forms = {
        "left/right": (f"{first} to the left of {second}", f"{second} to the right of {first}"),
        "above/below": (f"{first} above {second}", f"{second} below {first}"),
    }.get(kind, (f"{first} and {second}",))
    return forms[int(rng.integers(len(forms)))]


def _scenes(rng: Generator, kind: str) -> Iterator[Scene]:
    if kind == "single":
        yield from _singles(rng)
    while True:
        layout = _LAYOUTS.get(kind, "single")
        if kind in ("unnamed", "scenery"):
            layout = "single" if rng.random() < 0.5 else "row"
        scene = (
            sample_held_out(rng, layout=layout) if kind != "unnamed" else sample(rng, layout=layout)
        )
        if _wanted(kind, scene) and (kind != "plural" or len(scene.placements) == 2):
            yield scene


def cases(seed: int = TEST) -> list[Case]:
    """All cases, no prompt twice."""
    rng = np.random.default_rng(seed)
    found: dict[str, Case] = {}
    for kind, count in COUNTS.items():
        wanted = len(found) + count
        for scene in _scenes(rng, kind):
            named = kind != "unnamed"
            prompt = _sentence(rng, kind, scene) + (
                f" {background_phrase(scene.background)}" if named else ""
            )
            found.setdefault(prompt, Case(kind=kind, prompt=prompt, scene=scene, named=named))
            if len(found) == wanted:
                break
    return list(found.values())
