"""Captions: the many ways of saying what a scene shows, at most 22 tokens each."""

from numpy.random import Generator

from sdcli.training.concepts import CONCEPTS, SCENERY, Concept, takes_article
from sdcli.training.scenes import Scene

UNNAMED_WHITE = 0.75  # a white background goes without saying, most of the time
EMPTY = 0.10  # share of empty captions, for classifier-free guidance

_PREFIXES = (
    "a photo of ",
    "a picture of ",
    "an image of ",
    "a drawing of ",
    "an illustration of ",
    "an emoji of ",
    "",
)
_SUFFIXES = (", high quality", ", detailed", ", flat design", ", cute", ", digital art")
_NUMBERS = {2: "two", 3: "three"}
_SIZES = {"small": ("small", "little", "tiny"), "big": ("big", "large", "huge")}
_SCENES = {
    "mountain": (
        "on a snowy mountain",
        "on a mountain",
        "in the mountains",
        "on a mountain background",
    ),
    "snow": ("in the snow", "in snow", "on a snow background"),
    "beach": ("on a beach", "on the beach", "at the beach", "on a beach background"),
    "night sky": ("in the night sky", "under a night sky", "at night", "on a night sky background"),
}


def _pick(rng: Generator, options: tuple[str, ...]) -> str:
    return options[int(rng.integers(len(options)))]


def article(noun: str) -> str:
    """ "a" or "an" before ``noun``."""
    return "an" if noun[0] in "aeiou" else "a"


def _named(rng: Generator, concept: Concept, *, adjective: str = "", definite: bool = False) -> str:
    word = concept.words[0] if rng.random() < 0.75 else _pick(rng, concept.words)
    noun = f"{adjective} {word}".strip()
    if rng.random() < 0.12:
        return noun
    if definite:
        return f"the {noun}"
    return f"{article(noun)} {noun}" if takes_article(concept) else noun


def _two(rng: Generator, scene: Scene) -> str:
    first, second = (_named(rng, CONCEPTS[p.concept]) for p in scene.placements)
    if scene.layout == "column":
        forms = (
            f"{first} above {second}",
            f"{second} below {first}",
            f"{second} under {first}",
            f"{first} on top of {second}",
            f"{first} at the top and {second} at the bottom",
        )
        return _pick(rng, forms)
    if rng.random() < 0.5:
        return f"{first} {_pick(rng, ('and', 'and', 'and', 'next to', 'with', 'beside'))} {second}"
    forms = (
        f"{first} to the left of {second}",
        f"{second} to the right of {first}",
        f"{first} on the left and {second} on the right",
        f"{first} left of {second}",
        f"{second} right of {first}",
    )
    return _pick(rng, forms)


def _things(rng: Generator, scene: Scene) -> str:
    concepts = [CONCEPTS[p.concept] for p in scene.placements]
    if scene.layout == "many":
        word = (
            concepts[0].plural.replace("gray", "grey") if rng.random() < 0.3 else concepts[0].plural
        )
        return f"{_NUMBERS[len(concepts)]} {word}"
    if scene.layout == "triple":
        a, b, c = (_named(rng, concept) for concept in concepts)
        return f"{a}, {b} and {c}"
    if len(concepts) == 2:
        return _two(rng, scene)
    adjective = _pick(rng, _SIZES[scene.layout]) if scene.layout in _SIZES else ""
    return _named(rng, concepts[0], adjective=adjective)


def _where(rng: Generator, background: str) -> str:
    if background in SCENERY:
        form = _pick(rng, _SCENES[background])
        return f" {form}" if rng.random() < 0.9 else f", {background} background"
    color = background.replace("gray", "grey") if rng.random() < 0.3 else background
    forms = (f" on {article(color)} {color} background",) * 6 + (
        f", {color} background",
        f" on {color}",
        f" with {article(color)} {color} background",
    )
    return _pick(rng, forms)


def caption(rng: Generator, scene: Scene) -> str:
    """One way of describing ``scene``; empty for a tenth of the draws."""
    if rng.random() < EMPTY:
        return ""
    short = scene.layout != "triple"  # three things leave no room for ornaments
    prefix = _pick(rng, _PREFIXES) if short and rng.random() < 0.15 else ""
    where = (
        ""
        if scene.background == "white" and rng.random() < UNNAMED_WHITE
        else _where(rng, scene.background)
    )
    suffix = _pick(rng, _SUFFIXES) if short and rng.random() < 0.08 else ""
    text = prefix + _things(rng, scene) + where + suffix
    return text[0].upper() + text[1:] if rng.random() < 0.1 else text
