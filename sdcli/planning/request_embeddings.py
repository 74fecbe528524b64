"""Resolve the embeddings of a request: their files, and whether they fit the model."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from sdcli.checkpoints.adapters.embedded_addons import is_embedded_addon
from sdcli.checkpoints.adapters.embedding_file import (
    EmbeddingFile,
    embeddings_in,
    find_embedding,
    read_embedding,
)
from sdcli.checkpoints.adapters.embedding_fit import check_fit
from sdcli.checkpoints.file_hashes import verified_sha256
from sdcli.checkpoints.model_defaults import ModelDefaults
from sdcli.errors import ModelError, SdcliError, quoted
from sdcli.field_validation import refuse_separator
from sdcli.fields.embedding import (
    EMBEDDING,
    SEPARATOR,
    EmbeddingUse,
    EmbeddingWord,
    embedding_words,
    format_embeddings,
    parse_embeddings,
)
from sdcli.inputs.paths import expand_user
from sdcli.prompts.syntax.embedding_words import has_word
from sdcli.request import PROMPT_FIELDS, GenerationRequest

_LONGEST_EXCERPT: Final = 60
_UNWRITABLE: Final = frozenset(":;,/")
"""Characters that a word cannot have, because they separate it from others."""


@dataclass(frozen=True, kw_only=True)
class RequestEmbeddings:
    """The embeddings of a request, as its job has them.

    `notes` are sentences for the user, of which those with the same key say the same.
    """

    embedding: str | None = None
    embedding_facts: str = ""
    notes: Mapping[str, str] = field(default_factory=dict, compare=False)

    def job_fields(self) -> dict[str, Any]:
        """The fields of a job that come from the embeddings."""
        return {"embedding": self.embedding, "embedding_facts": self.embedding_facts}

    @property
    def words(self) -> tuple[EmbeddingWord, ...]:
        """The words of the prompts that stand for embeddings."""
        return embedding_words(self.embedding_facts)

    @property
    def vocabulary(self) -> frozenset[str]:
        """The words that the model need not know."""
        words = (re.findall(r"[^\W_]+", word.word.lower()) for word in self.words)
        return frozenset(part for parts in words for part in parts)


NO_EMBEDDINGS: Final = RequestEmbeddings()


@dataclass(frozen=True, kw_only=True)
class _Found:
    use: EmbeddingUse
    sha256: str
    file: EmbeddingFile

    @property
    def facts(self) -> str:
        return f"{self.sha256}:{self.file.vectors}:{_in_lower_case(self.use.word)}"


def find_embeddings(request: GenerationRequest, defaults: ModelDefaults) -> RequestEmbeddings:
    """Return the embeddings whose words the prompts have: those asked for, and of the folder.

    A file of the folder that does not fit the model is named in a note. Raises UsageError,
    ModelError, UnsafeError and CorruptError for those that were asked for.
    """
    if request.embedding is None and request.embedding_dir is None:
        return NO_EMBEDDINGS
    texts = [text for name in PROMPT_FIELDS if (text := getattr(request, name))]
    found: list[_Found] = []
    notes: dict[str, str] = {}
    asked = parse_embeddings(request.embedding)
    for use in asked:
        try:
            one = _find(use, request, defaults)
        except SdcliError as error:
            message = f"embedding: {error.message}"
            raise type(error)(message, code=error.code, hint=error.hint) from error
        if _is_used(use.word, texts):
            found.append(one)
        else:
            notes[str(one.use)] = _unused_note(one, request)
    for use in _in_folder(request, {use.word.lower() for use in asked}, texts):
        try:
            found.append(_find(use, request, defaults))
        except SdcliError as error:
            note = f"{quoted(use.word)} is drawn as words: {error.message}"
            notes[note] = note
    # Equal embeddings in another order are the same job.
    found.sort(key=lambda one: one.facts)
    return RequestEmbeddings(
        embedding=format_embeddings(one.use for one in found),
        embedding_facts=SEPARATOR.join(one.facts for one in found),
        notes=notes,
    )


def _in_lower_case(word: str) -> str:
    """The word in lower case, but as it is written where that would no longer be the same word."""
    lower = word.lower()
    return lower if has_word(word, lower) else word


def _is_used(word: str, texts: list[str]) -> bool:
    return any(has_word(text, word) for text in texts)


def _find(use: EmbeddingUse, request: GenerationRequest, defaults: ModelDefaults) -> _Found:
    path = find_embedding(use.path, request.embedding_dir)
    file = read_embedding(path)
    if defaults.folder is not None and defaults.tokenizers is not None:
        check_fit(file, request.spec.model, defaults.folder)
        limit = defaults.tokenizers.limit
        if file.vectors > limit:
            raise ModelError(
                f"{path.name} has {file.vectors} vectors, but the text encoder reads {limit} "
                "tokens at once",
                code="model.embedding",
                hint="use an embedding of fewer vectors",
            )
    # The name that finds the file without --embedding-dir.
    name = use.path if is_embedded_addon(use.path) else str(path)
    lasting = replace(use, path=refuse_separator(EMBEDDING, name))
    return _Found(use=lasting, sha256=verified_sha256(EMBEDDING, path), file=file)


def _unused_note(one: _Found, request: GenerationRequest) -> str:
    name, prompt = Path(one.use.path).name, quoted(request.prompt[:_LONGEST_EXCERPT])
    return f"{name} is not used: its word {quoted(one.use.word)} is not in the prompt {prompt}"


def _in_folder(
    request: GenerationRequest, taken: set[str], texts: list[str]
) -> Iterator[EmbeddingUse]:
    """Yield the embeddings of --embedding-dir whose names are words of the prompts."""
    folder: Mapping[str, Path] = {}
    if request.embedding_dir is not None:
        path = expand_user(request.embedding_dir)
        if not path.is_dir():
            raise ModelError(
                f"embedding_dir: no folder at {quoted(request.embedding_dir)}",
                code="model.not_found",
                hint="give the folder with the .safetensors, .pt and .bin files",
            )
        folder = embeddings_in(path)
    for word, path in folder.items():
        unusable = word in taken or _UNWRITABLE & set(word)
        if not unusable and _is_used(path.stem, texts):
            yield EmbeddingUse(path=str(path), word=path.stem)
