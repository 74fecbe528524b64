"""Find the words of a run's prompts, and check the steps that a recorder selects."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from sdcli.attention import PromptLayout, PromptWord
from sdcli.engine.denoise.run_part import RunPart
from sdcli.engine.recorders.observed_run import ObservedRun
from sdcli.engine.text.tokens import find_tokens
from sdcli.engine.text.weighted import read_chunks
from sdcli.engine.text.words import find_weighted_words, find_words
from sdcli.errors import UsageError
from sdcli.fields.prompt import COMPEL
from sdcli.job import Job
from sdcli.prompts.syntax.chunks import Chunk
from sdcli.prompts.syntax.compel_tokens import compel_chunks


def find_prompt_words(run: ObservedRun, image: int) -> tuple[PromptWord, ...]:
    """Return the words of an image's prompt, by its position in the batch."""
    return find_layout(run, image).words


def find_layout(run: ObservedRun, image: int) -> PromptLayout:
    """Return the words of an image's prompt and their places, by its position in the batch.

    Of a prompt whose words have fixed places: `check_word_places` refuses the others.
    """
    tokenizer = prompt_tokenizer(run.parts[0])
    job, length = run.runs[image].job, tokenizer.model_max_length
    if not job.reads_syntax:
        words = find_words(tokenizer, job.prompt)
        count = max((token for word in words for token in word.tokens), default=0)
        return PromptLayout(words=words, chunks=(count,), length=length)
    chunks = find_chunks(tokenizer, job)
    return PromptLayout(
        words=find_weighted_words(tokenizer, chunks, job.prompt),
        chunks=tuple(map(len, chunks)),
        length=length,
    )


def find_chunks(tokenizer: Any, job: Job) -> tuple[Chunk, ...]:
    """Return the tokens of a prompt whose syntax is read, without empty chunks at its end."""
    if job.read_as == COMPEL:
        limit = tokenizer.model_max_length - 2
        return compel_chunks(job.prompt, partial(find_tokens, tokenizer), limit)
    chunks = read_chunks(tokenizer, job.prompt)
    last = max((number for number, chunk in enumerate(chunks) if chunk), default=0)
    return chunks[: last + 1]


def prompt_tokenizer(part: RunPart) -> Any:
    """Return the tokenizer of the text that a part of a run reads; a refiner has the second."""
    return getattr(part.pipeline, "tokenizer", None) or part.pipeline.tokenizer_2


def check_steps(steps: Sequence[int], last: int) -> None:
    """Raise UsageError for a step that a run of `last` UNet calls does not have."""
    for step in steps:
        if step > last:
            raise UsageError(
                f"--at-steps: there is no step {step}, this run has {last}",
                code="usage.at_steps",
            )
