"""Write captions for scenes in many variants, each of at most 22 tokens."""

from numpy.random import Generator

from sdcli.training.concepts import CAPTIONED, SCENERY, Concept, takes_article
from sdcli.training.scenes import Scene

UNNAMED_WHITE_SHARE = 0.75
"""Share of captions that do not mention a white background."""

EMPTY_SHARE = 0.10
"""Share of empty captions, for classifier-free guidance."""

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
SCENERY_PHRASES = {
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
    """Return the indefinite article of ``noun``."""
    return "an" if noun[0] in "aeiou" else "a"


def _noun_phrase(
    rng: Generator, concept: Concept, *, adjective: str = "", definite: bool = False
) -> str:
    word = concept.words[0] if rng.random() < 0.75 else _pick(rng, concept.words)
    noun = f"{adjective} {word}".strip()
    if rng.random() < 0.12:
        return noun
    if definite:
        return f"the {noun}"
    return f"{article(noun)} {noun}" if takes_article(concept) else noun


def _pair_phrase(rng: Generator, scene: Scene) -> str:
    first, second = (_noun_phrase(rng, CAPTIONED[p.concept]) for p in scene.placements)
    if scene.layout == "column":
        phrases = (
            f"{first} above {second}",
            f"{second} below {first}",
            f"{second} under {first}",
            f"{first} on top of {second}",
            f"{first} at the top and {second} at the bottom",
        )
        return _pick(rng, phrases)
    if rng.random() < 0.5:
        return f"{first} {_pick(rng, ('and', 'and', 'and', 'next to', 'with', 'beside'))} {second}"
    phrases = (
        f"{first} to the left of {second}",
        f"{second} to the right of {first}",
        f"{first} on the left and {second} on the right",
        f"{first} left of {second}",
        f"{second} right of {first}",
    )
    return _pick(rng, phrases)


def _objects_phrase(rng: Generator, scene: Scene) -> str:
    concepts = [CAPTIONED[p.concept] for p in scene.placements]
    if scene.layout == "many":
        word = (
            concepts[0].plural.replace("gray", "grey") if rng.random() < 0.3 else concepts[0].plural
        )
        return f"{_NUMBERS[len(concepts)]} {word}"
    if scene.layout == "triple":
        a, b, c = (_noun_phrase(rng, concept) for concept in concepts)
        return f"{a}, {b} and {c}"
    if len(concepts) == 2:
        return _pair_phrase(rng, scene)
    adjective = _pick(rng, _SIZES[scene.layout]) if scene.layout in _SIZES else ""
    return _noun_phrase(rng, concepts[0], adjective=adjective)


def _background_phrase(rng: Generator, background: str) -> str:
    if background in SCENERY:
        phrase = _pick(rng, SCENERY_PHRASES[background])
        return f" {phrase}" if rng.random() < 0.9 else f", {background} background"
    color = background.replace("gray", "grey") if rng.random() < 0.3 else background
    phrases = (f" on {article(color)} {color} background",) * 6 + (
        f", {color} background",
        f" on {color}",
        f" with {article(color)} {color} background",
    )
    return _pick(rng, phrases)


def make_caption(rng: Generator, scene: Scene) -> str:
    """Return a random caption of ``scene``, which is empty in a tenth of the cases."""
    if rng.random() < EMPTY_SHARE:
        return ""
    # The names of three objects leave no tokens for a prefix or a suffix.
    has_room = scene.layout != "triple"
    prefix = _pick(rng, _PREFIXES) if has_room and rng.random() < 0.15 else ""
    background = (
        ""
        if scene.background == "white" and rng.random() < UNNAMED_WHITE_SHARE
        else _background_phrase(rng, scene.background)
    )
    suffix = _pick(rng, _SUFFIXES) if has_room and rng.random() < 0.08 else ""
    text = prefix + _objects_phrase(rng, scene) + background + suffix
    return text[0].upper() + text[1:] if rng.random() < 0.1 else text
