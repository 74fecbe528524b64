"""Name embeddings in records, and find them again by their hash or by their name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from sdcli.checkpoints.adapters.embedded_addons import is_embedded_addon
from sdcli.checkpoints.adapters.embedding_file import find_embedding
from sdcli.checkpoints.adapters.recorded_files import find_recorded, recorded_hash
from sdcli.errors import ModelError
from sdcli.field_validation import refuse_separator
from sdcli.fields.embedding import (
    EMBEDDING,
    SEPARATOR,
    SUFFIXES,
    EmbeddingUse,
    format_embeddings,
    parse_embeddings,
)
from sdcli.inputs.paths import expand_user
from sdcli.job import Job
from sdcli.request import GenerationRequest

_A1111_DIGITS: Final = 12


def embedding_names(job: Job, *, full_paths: bool) -> str | None:
    """Return the job's embeddings with the names of their files, or with their paths."""
    return format_embeddings(
        replace(use, path=_full(use.path) if full_paths else Path(use.path).name)
        for use in parse_embeddings(job.embedding)
    )


def embeddings_of(job: Job) -> list[dict[str, Any]]:
    """Return the word, the file and the hash of each embedding of a job, as a record has them."""
    facts = [fact.split(":") for fact in job.embedding_facts.split(SEPARATOR)]
    return [
        {
            "word": use.word,
            "name": Path(use.path).name,
            "sha256": digest,
            "vectors": int(vectors),
        }
        for use, (digest, vectors, _) in zip(parse_embeddings(job.embedding), facts, strict=True)
    ]


def locate_embeddings(
    request: GenerationRequest, record: Mapping[str, Any], folders: Sequence[Path]
) -> GenerationRequest:
    """Return the request with the paths of its recorded embeddings on this machine.

    A file with the recorded hash comes first; the name counts where there is no hash. Embeddings
    that are not the recorded ones were chosen by the user, and stay. Raises ModelError.
    """
    recorded = record.get("request")
    if not request.embedding or not isinstance(recorded, Mapping):
        return request
    if request.embedding != recorded.get("embedding"):
        return request
    uses, entries = parse_embeddings(request.embedding), record.get("embeddings")
    if not isinstance(entries, list) or len(entries) != len(uses):
        entries = [{}] * len(uses)
    if request.embedding_dir:
        folders = [expand_user(request.embedding_dir), *folders]
    located = [_locate(use, entry, folders) for use, entry in zip(uses, entries, strict=True)]
    return replace(request, embedding=format_embeddings(located), embedding_dir=None)


def _locate(use: EmbeddingUse, entry: object, folders: Sequence[Path]) -> EmbeddingUse:
    wanted = recorded_hash(entry.get("sha256")) if isinstance(entry, Mapping) else None
    if is_embedded_addon(use.path):
        return _locate_embedded(use, wanted, folders)
    named = [expand_user(use.path), *(folder / Path(use.path).name for folder in folders)]
    if path := find_recorded(wanted, named, folders, SUFFIXES):
        return replace(use, path=refuse_separator(EMBEDDING, str(path)))
    known = f" (SHA-256 {wanted})" if wanted else ""
    raise ModelError(
        f"the record's embedding {use.path!r}{known} is not on this machine",
        code="model.not_found",
        hint="put it next to the image, or give its folder with --set embedding_dir=DIR, or "
        f"another file with --set embedding=FILE:{use.word}",
    )


def _locate_embedded(
    use: EmbeddingUse, wanted: str | None, folders: Sequence[Path]
) -> EmbeddingUse:
    """The name of one that comes with sdcli, unless only another file has the recorded hash."""
    with suppress(ModelError):
        if find_recorded(wanted, [find_embedding(use.path, None)], (), SUFFIXES):
            return use
    found = find_recorded(wanted, (), folders, SUFFIXES)
    return replace(use, path=refuse_separator(EMBEDDING, str(found))) if found else use


def _full(path: str) -> str:
    return path if is_embedded_addon(path) else str(expand_user(path).absolute())


def a1111_embeddings(record: Mapping[str, Any]) -> str | None:
    """Return the embeddings of a record as A1111's "TI hashes" has them."""
    entries = record.get("embeddings") or []
    hashes = [f"{entry['word']}: {entry['sha256'][:_A1111_DIGITS]}" for entry in entries]
    return ", ".join(hashes) or None
