"""The manual and the example prompt files, which are part of the package."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent
EXAMPLES: Final = FOLDER / "prompts"

TOPICS: Final = (
    "install",
    "models",
    "image-to-image",
    "prompts",
    "add-ons",
    "controlnet",
    "prompt-files",
    "options",
    "coming-from",
    "records",
    "seeds",
    "schedulers",
    "latents",
    "attention",
    "explain",
    "gallery",
    "scripting",
    "clusters",
    "python",
    "faq",
    "glossary",
)
"""The pages of the manual in reading order: `install` is `install.md` in this folder."""

_COMMENT = re.compile(r"^<!--.*?-->\n(\n(?=\n|<!--))?", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Match:
    """A line of the manual that a search found."""

    topic: str
    line: int
    text: str


def read_topic(topic: str) -> str:
    """Return the text of a page, without the HTML comments that mark its generated parts."""
    return _COMMENT.sub("", (FOLDER / f"{topic}.md").read_text("utf-8"))


def topic_summary(topic: str) -> str:
    """Return the paragraph below the title of a page, in one line."""
    return " ".join(read_topic(topic).split("\n\n")[1].split())


def search_manual(words: str, topics: tuple[str, ...] = TOPICS) -> Iterator[Match]:
    """Yield the lines that contain all of the words, in upper or lower case."""
    wanted = words.lower().split()
    for topic in topics:
        for number, line in enumerate(read_topic(topic).splitlines(), 1):
            if all(word in line.lower() for word in wanted):
                yield Match(topic, number, line.strip())


def example_files() -> Mapping[str, bytes]:
    """Return the example prompt files by their path, such as `wildcards/color.txt`."""
    paths = sorted(path for path in EXAMPLES.rglob("*") if path.is_file())
    return {path.relative_to(EXAMPLES).as_posix(): path.read_bytes() for path in paths}
