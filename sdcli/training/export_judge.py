"""Export the trained judge and the words of the model to the package."""

import json
from pathlib import Path

from sdcli.prompts.scene import VOCABULARY
from sdcli.training.captions import SCENERY_PHRASES, article
from sdcli.training.concepts import COLORS, CONCEPTS, can_be_many
from sdcli.training.judge import judge_backgrounds, load_trained_judge


def background_phrases() -> dict[str, str]:
    """Return the ends of captions that name a background, with its name; the longest first."""
    phrases = {}
    for color in COLORS:
        for phrase in (f" {article(color)} {color} background", f" {color}"):
            phrases[f" on{phrase}"] = color
        phrases[f" with {article(color)} {color} background"] = color
        phrases[f", {color} background"] = color
    for name, wordings in SCENERY_PHRASES.items():
        phrases |= {f" {wording}": name for wording in wordings}
        phrases[f", {name} background"] = name
    return dict(sorted(phrases.items(), key=lambda item: -len(item[0])))


def vocabulary() -> dict[str, object]:
    """Return the words of the model as `sdcli.prompts.scene` reads them."""
    concepts = CONCEPTS.values()
    return {
        "objects": list(CONCEPTS),
        "backgrounds": [name for name, _ in judge_backgrounds()],
        "nouns": {word: c.name for c in concepts for word in (c.name, *c.words)},
        "plurals": {c.plural: c.name for c in concepts if can_be_many(c)},
        "phrases": background_phrases(),
    }


def export_judge(folder: Path, target: Path) -> None:
    """Write the judge that was trained in ``folder``, and its vocabulary, to ``target``."""
    target.mkdir(parents=True, exist_ok=True)
    text = json.dumps(vocabulary(), indent=1)
    (target / VOCABULARY).write_text(text + "\n")
    load_trained_judge(folder).save(target)
