"""Put the vectors of textual inversion embeddings in the places of a prompt's tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from sdcli.checkpoints.adapters.embedding_file import (
    EmbeddingFile,
    find_embedding,
    read_embedding,
    rows_of,
)
from sdcli.checkpoints.file_hashes import sha256
from sdcli.engine.backends.converted_forward import on_torch
from sdcli.engine.loading.planned_files import check_unchanged
from sdcli.engine.loading.source_tensors import to_torch
from sdcli.errors import CorruptError
from sdcli.fields.embedding import (
    EMBEDDING,
    SEPARATOR,
    EmbeddingUse,
    EmbeddingWord,
    embedding_words,
    parse_embeddings,
)
from sdcli.job import Job
from sdcli.prompts.syntax.embedding_words import FIRST_VECTOR


@dataclass(frozen=True, eq=False)
class JobVectors:
    """The embeddings of a job: their words, and all their vectors for each text encoder.

    Those of a text encoder are (vectors, width), of one word after the other.
    """

    words: tuple[EmbeddingWord, ...] = ()
    vectors: tuple[Tensor, ...] = ()

    @contextmanager
    def replacing_rows(
        self, text_encoder: Any, index: int = 0
    ) -> Iterator[Callable[[Tensor], Tensor]]:
        """While this lasts, the layer that embeds tokens gives vectors in some of their places.

        Yields a function from ids to those that the text encoder knows, which notes the places of
        the vectors. The vocabulary and the weights stay as they are.
        """
        if not self.words:
            yield lambda ids: ids
            return
        rows = _Rows(self.vectors[index])
        handle = text_encoder.get_input_embeddings().register_forward_hook(rows.put)
        try:
            with on_torch(text_encoder):
                yield rows.place
        finally:
            handle.remove()


NO_VECTORS: Final = JobVectors()


class _Rows:
    """Vectors, and where they belong in the ids of the next call of the text encoder."""

    def __init__(self, vectors: Tensor) -> None:
        self._vectors = vectors
        self._ids: Tensor | None = None

    def place(self, ids: Tensor) -> Tensor:
        self._ids = ids
        # Any token would do, but for the one that ends the text, which is looked for.
        return torch.where(ids >= FIRST_VECTOR, ids[:, :1], ids)

    def put(self, layer: Any, args: Any, output: Tensor) -> Tensor | None:
        if self._ids is None:
            return None
        places = self._ids >= FIRST_VECTOR
        numbers = (self._ids[places] - FIRST_VECTOR).to(self._vectors.device)
        changed = output.clone()
        changed[places.to(output.device)] = self._vectors[numbers].to(output)
        return changed


def read_vectors(job: Job, keys: Sequence[str]) -> JobVectors:
    """Read the embeddings of a job. `keys` are those of an EmbeddingFile for each text encoder.

    Raises CorruptError for values that are not finite, and ModelError for a file that has changed
    since the job was planned.
    """
    if not job.embedding:
        return NO_VECTORS
    return _read(job.embedding, job.embedding_facts, tuple(keys))


# Equal jobs must have one object: prompts that are encoded already are found by it.
@lru_cache(maxsize=64)
def _read(embedding: str, facts: str, keys: tuple[str, ...]) -> JobVectors:
    digests = [fact.partition(":")[0] for fact in facts.split(SEPARATOR)]
    uses = parse_embeddings(embedding)
    files = [_open(use, digest) for use, digest in zip(uses, digests, strict=True)]
    vectors = tuple(torch.cat([_load(file, key) for file in files]) for key in keys)
    return JobVectors(embedding_words(facts), vectors)


def _open(use: EmbeddingUse, digest: str) -> EmbeddingFile:
    path = find_embedding(use.path, None)
    check_unchanged(EMBEDDING, path, sha256(path), digest)
    return read_embedding(path)


def _load(file: EmbeddingFile, key: str) -> Tensor:
    tensor = file.tensors[key]
    rows = to_torch(tensor).reshape(rows_of(tensor), -1)
    # A single NaN would spread to the whole image, without any error.
    if not torch.isfinite(rows).all():
        raise _corrupt(file.path)
    return rows


def _corrupt(path: Path) -> CorruptError:
    return CorruptError(
        f"embedding: {path} has values that are not finite",
        code="model.corrupt",
        hint="download the file again",
    )
