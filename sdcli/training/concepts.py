"""List the objects, shapes, colors and backgrounds that the embedded model can draw."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Concept:
    """An object that can be drawn.

    ``icon`` is its name in the emoji set; a shape has a ``shape`` and a ``color`` instead.
    ``words`` are the names that captions use for it, most often the first.
    """

    name: str
    plural: str
    words: tuple[str, ...]
    icon: str | None = None
    shape: str | None = None
    color: str | None = None


COLORS: dict[str, tuple[int, int, int]] = {
    "red": (220, 40, 45),
    "orange": (248, 140, 30),
    "yellow": (250, 214, 50),
    "green": (60, 170, 80),
    "blue": (60, 110, 220),
    "purple": (135, 70, 190),
    "pink": (248, 150, 190),
    "brown": (130, 80, 45),
    "black": (25, 25, 28),
    "white": (250, 250, 250),
    "gray": (140, 142, 148),
}
"""RGB levels. No two colors are closer than 60, because the judge goes by the nearest color."""

SHAPES = ("circle", "square", "triangle", "star", "heart")
SCENERY = ("mountain", "snow", "beach", "night sky")
BACKGROUNDS = (*COLORS, *SCENERY)

_OBJECTS = """
cat cat-face kitten
dog dog-face puppy
panda panda
fox fox
lion lion
pig pig-face
frog frog
koala koala
penguin penguin
fish fish
octopus octopus
butterfly butterfly
rabbit rabbit-face bunny
bear bear
tiger tiger-face
owl owl
horse horse-face
turtle turtle
duck duck
whale spouting-whale
apple red-apple
banana banana
pizza pizza
hamburger hamburger burger
cake shortcake
cherry cherries
grape grapes
strawberry strawberry
watermelon watermelon
carrot carrot
lemon lemon
donut doughnut doughnut
guitar guitar
violin violin
trumpet trumpet
drum drum
piano musical-keyboard
car automobile
bus bus
bicycle bicycle bike
airplane airplane plane
rocket rocket
sailboat sailboat boat
house house
castle castle
umbrella umbrella
gift wrapped-gift present
crown crown
hat top-hat
sunglasses sunglasses
book closed-book
clock alarm-clock
light_bulb light-bulb
key key
ball soccer-ball
robot robot
balloon balloon
tree deciduous-tree
cactus cactus
sunflower sunflower
tulip tulip
mushroom mushroom
sun sun
moon crescent-moon
cloud cloud
rainbow rainbow
fire fire
snowman snowman-without-snow
ghost ghost
"""
"""One object for each line: its name, its icon and other names."""

# The emoji shows several of them, so a single one has the plural name.
_ALWAYS_PLURAL = {"cherry": "cherries", "grape": "grapes"}
_WITHOUT_ARTICLE = {"sunglasses", "fire"}
_PLURALS = {
    "fish": "fish",
    "cactus": "cacti",
    "sunglasses": "sunglasses",
    "fire": "fires",
    "snowman": "snowmen",
}


def plural(noun: str) -> str:
    """Return the English plural of a noun in the list, regular or irregular."""
    if noun in _PLURALS:
        return _PLURALS[noun]
    if noun.endswith(("s", "x", "ch")):
        return noun + "es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + "s"


def _parse_object(line: str) -> Concept:
    name, icon, *others = line.split()
    singular = name.replace("_", " ")
    word = _ALWAYS_PLURAL.get(name, singular)
    return Concept(name=word, plural=plural(singular), words=(word, *others), icon=icon)


def _make_shape(color: str, shape: str) -> Concept:
    name = f"{color} {shape}"
    words = (name, name.replace("gray", "grey")) if color == "gray" else (name,)
    return Concept(
        name=name, plural=f"{color} {plural(shape)}", words=words, shape=shape, color=color
    )


OBJECTS: tuple[Concept, ...] = tuple(_parse_object(line) for line in _OBJECTS.split("\n") if line)
COLORED_SHAPES: tuple[Concept, ...] = tuple(_make_shape(c, s) for c in COLORS for s in SHAPES)
CONCEPTS: dict[str, Concept] = {c.name: c for c in (*OBJECTS, *COLORED_SHAPES)}
FLAG = Concept(name="flag", plural="flags", words=("flag",))
"""What the LoRA of the embedded model teaches; the model itself has never seen one."""

CAPTIONED: dict[str, Concept] = {**CONCEPTS, FLAG.name: FLAG}
"""Everything that a caption can name."""

CLASS_INDEX: dict[str, int] = {name: index for index, name in enumerate(CONCEPTS)}


def takes_article(concept: Concept) -> bool:
    """Whether the noun has an article: not "fire", "sunglasses" or "cherries"."""
    return concept.name not in _WITHOUT_ARTICLE and concept.name not in _ALWAYS_PLURAL.values()


def can_be_many(concept: Concept) -> bool:
    """Whether "two ..." means two copies of the image, unlike "two cherries"."""
    return takes_article(concept)
