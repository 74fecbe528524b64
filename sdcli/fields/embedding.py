"""Describe the textual inversion fields of requests and jobs, and how they are written."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

from sdcli.errors import UsageError, quoted
from sdcli.field_metadata import setting
from sdcli.field_validation import check_text

EMBEDDING: Final = "embedding"
NONE: Final = "none"
SEPARATOR: Final = ";"
"""Between the embeddings of one image."""

SUFFIXES: Final = (".safetensors", ".pt", ".bin")
_EMBEDDED: Final = "embedded:"
_WRITTEN: Final = re.compile(rf"((?:{_EMBEDDED})?[^:].*?)(?::([^:/]*))?")


@dataclass(frozen=True, kw_only=True)
class EmbeddingUse:
    """An embedding by the path of its file, and the word that stands for it in prompts."""

    path: str
    word: str

    @classmethod
    def parse(cls, text: str) -> EmbeddingUse:
        """Parse PATH or PATH:WORD; the word is the file's name unless given. Raises UsageError."""
        match = _WRITTEN.fullmatch(text.strip())
        if not match or not match[1].strip():
            raise embedding_error(text, "does not name a file")
        word = embedding_stem(match[1].strip()) if match[2] is None else match[2].strip()
        if not re.search(r"\S", word):
            raise embedding_error(text, "has no word after the colon")
        return cls(path=match[1].strip(), word=word)

    def __str__(self) -> str:
        return f"{self.path}:{self.word}"


@dataclass(frozen=True, kw_only=True)
class EmbeddingWord:
    """A word of prompts that stands for so many vectors."""

    word: str
    vectors: int


def parse_embeddings(text: str | None) -> tuple[EmbeddingUse, ...]:
    """Parse the embeddings of one image: "easy.pt;a.safetensors:toy". Raises UsageError."""
    parts = [] if text is None else text.split(SEPARATOR)
    uses = tuple(EmbeddingUse.parse(part) for part in parts if part.strip().lower() != NONE)
    by_word: dict[str, EmbeddingUse] = {}
    for use in uses:
        other = by_word.setdefault(use.word.lower(), use)
        if other.path != use.path:
            raise embedding_error(
                use.word,
                f"is the word of two files: {other.path} and {use.path}",
                "give one of them another word: --embedding FILE:WORD",
            )
    return tuple(dict.fromkeys(by_word.values()))


def format_embeddings(uses: Iterable[EmbeddingUse]) -> str | None:
    """Write the embeddings of one image as a request has them, None for none."""
    return SEPARATOR.join(map(str, uses)) or None


def short_embeddings(text: str | None) -> str:
    """The embeddings of one image for people: their words."""
    return ", ".join(use.word for use in parse_embeddings(text)) or NONE


def embedding_stem(path: str) -> str:
    """The name of a file without its folder and suffix, which is its word in prompts."""
    name = PurePath(path.removeprefix(_EMBEDDED))
    return name.stem if name.suffix.lower() in SUFFIXES else name.name


def embedding_words(facts: str) -> tuple[EmbeddingWord, ...]:
    """The words of a job's `embedding_facts`, in the order of its embeddings."""
    parts = (part.split(":") for part in facts.split(SEPARATOR) if part)
    return tuple(EmbeddingWord(word=word, vectors=int(count)) for _, count, word in parts)


def embedding_error(text: str, reason: str, hint: str | None = None) -> UsageError:
    """The error of a text that names no embedding."""
    usual = "e.g. --embedding style.safetensors:style, or none"
    return UsageError(
        f"embedding: {quoted(text)} {reason}", code="usage.embedding", hint=hint or usual
    )


@dataclass(frozen=True, kw_only=True)
class EmbeddingRequestFields:
    """The fields of a request that give words of its prompts a meaning."""

    embedding: str | None = setting(
        None,
        "--embedding",
        metavar="FILE[:WORD]",
        help="Let a word in the prompts stand for a textual inversion embedding: a .safetensors, "
        ".pt or .bin file, a name in --embedding-dir, or embedded:holiday. The word is the file's "
        "name unless given. May be repeated; none for none.",
        aliases=("embeddings", "textual_inversion"),
        sweep=46,
        repeatable=True,
    )
    embedding_dir: str | None = setting(
        None,
        "--embedding-dir",
        metavar="DIR",
        help="Folder of embeddings: the name of each file is its word in prompts.",
        is_path=True,
    )

    def check_embedding_fields(self) -> None:
        """Raise UsageError for fields that are no text, or name no embedding."""
        for name in ("embedding", "embedding_dir"):
            check_text(name, getattr(self, name), optional=True)
        parse_embeddings(self.embedding)


@dataclass(frozen=True, kw_only=True)
class EmbeddingJobFields:
    """The embeddings of a job: with their paths, and in their place what decides the pixels.

    `embedding_facts` has SHA256:VECTORS:WORD for each of them.
    """

    embedding: str | None = None
    embedding_facts: str = ""
