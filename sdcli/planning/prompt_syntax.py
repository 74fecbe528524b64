"""Decide whether the prompts of a request are more than words, and check their syntax."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sdcli.checkpoints.model_defaults import ModelDefaults
from sdcli.errors import UsageError
from sdcli.fields.guidance import parse_schedule
from sdcli.fields.prompt import COMPEL, PLAIN
from sdcli.job import Job
from sdcli.planning.request_embeddings import NO_EMBEDDINGS, RequestEmbeddings
from sdcli.prompts.syntax.compel import has_compel_syntax, read_compel
from sdcli.prompts.syntax.embedding_words import has_word, tokenize_words
from sdcli.prompts.syntax.presence import has_and, has_syntax
from sdcli.prompts.syntax.schedule import changes_words
from sdcli.request import PROMPT_FIELDS, GenerationRequest, describe_field

_HINT = "use --prompt-syntax plain to draw AND as a word"


def reads_syntax(
    request: GenerationRequest,
    defaults: ModelDefaults,
    embeddings: RequestEmbeddings = NO_EMBEDDINGS,
) -> bool:
    """Return whether reading the syntax of the prompts makes a difference.

    It makes none for a short prompt without syntax, whose job is the same as with plain syntax.
    """
    if request.prompt_syntax == PLAIN:
        return False
    texts = (getattr(request, name) for name in PROMPT_FIELDS)
    if request.prompt_syntax == COMPEL:
        return any(text and has_compel_syntax(text) for text in texts)
    return any(
        text and (has_syntax(text) or not _fits(text, defaults, embeddings)) for text in texts
    )


def _fits(
    text: str, defaults: ModelDefaults, embeddings: RequestEmbeddings = NO_EMBEDDINGS
) -> bool:
    """Return whether the text encoders read all of a text at once."""
    tokenizers = defaults.tokenizers
    limit = tokenizers.limit if tokenizers else 75
    # No token of ASCII text is shorter than a character.
    if len(text) <= limit and text.isascii() and not embeddings.embedding:
        return True
    if tokenizers is None:
        return False
    words = embeddings.words
    return all(len(tokenize_words(one, words)(text)) <= limit for one in tokenizers.each)


def combines_prompts(request: GenerationRequest) -> bool:
    """Return whether the prompt combines several with AND."""
    return request.reads_a1111 and has_and(request.prompt)


def check_compel(request: GenerationRequest) -> None:
    """Raise UsageError for a prompt that compel's language does not have."""
    if request.prompt_syntax != COMPEL:
        return
    for name in PROMPT_FIELDS:
        try:
            read_compel(getattr(request, name) or "")
        except UsageError as error:
            message = f"{describe_field(name)}: {error.message}"
            raise UsageError(message, code=error.code, hint=error.hint) from error


@dataclass(frozen=True)
class WordPlaces:
    """An `option` that needs the words of prompts in fixed places.

    With `in_one_chunk`, it also needs them unweighted, in the places that a short prompt gives
    them.
    """

    option: str
    in_one_chunk: bool = False


def check_word_places(
    request: GenerationRequest,
    defaults: ModelDefaults,
    needed: WordPlaces,
    embeddings: RequestEmbeddings = NO_EMBEDDINGS,
) -> None:
    """Raise UsageError for a prompt whose words have no such places.

    A schedule changes the words themselves, AND reads several prompts, and an embedding has the
    place of several. What the negative prompt has does not matter.
    """
    option = needed.option
    texts = [text for text in (request.prompt, request.prompt_2) if text]
    for word in embeddings.words:
        if any(has_word(text, word.word) for text in texts):
            raise UsageError(
                f"{option}: the embedding {word.word} has the places of {word.vectors} tokens, "
                "which are no words",
                code="attention.prompt",
                hint="leave the embedding out, or use it in the negative prompt",
            )
    if request.prompt_syntax == COMPEL:
        # Blended texts share their places, and none of them has its own.
        _check_compel_places(texts, needed)
    if not request.reads_a1111:
        return
    if any(changes_words(text) for text in texts):
        raise _no_places_error(option, "schedules or AND")
    if not needed.in_one_chunk:
        return
    if any(has_syntax(text) for text in texts):
        raise _no_places_error(option, "weights or BREAK")
    if not all(_fits(text, defaults) for text in texts):
        raise UsageError(
            f"{option}: the prompt is longer than the text encoder reads at once",
            code="attention.prompt",
            hint="shorten the prompt, or cut it off with --prompt-syntax plain",
        )


def _check_compel_places(texts: Sequence[str], needed: WordPlaces) -> None:
    if any(len(part.texts) > 1 for text in texts for part in read_compel(text)):
        raise _no_places_error(needed.option, ".blend()")
    if needed.in_one_chunk and any(has_compel_syntax(text) for text in texts):
        raise _no_places_error(needed.option, "weights or .and()")


def _no_places_error(option: str, syntax: str) -> UsageError:
    return UsageError(
        f"{option}: a prompt with {syntax} has no fixed places of its words",
        code="attention.prompt",
        hint="write the words without them, or add --prompt-syntax plain",
    )


def syntax_faults(
    request: GenerationRequest, job: Job, defaults: ModelDefaults
) -> Iterator[UsageError]:
    """All errors of settings with which AND cannot be computed."""
    if not combines_prompts(request):
        return
    if job.guidance_scale <= 1:
        yield _and_error("needs guidance", f"{_HINT}, or a --guidance above 1")
    elif defaults.embeds_guidance:
        yield _and_error("does not work with this model, whose guidance is an input of the UNet")
    if (job.guidance_from, job.guidance_to) != (0, 1):
        yield _and_error("does not work with --guidance-from and --guidance-to")
    if any(scale <= 1 for _, scale in parse_schedule(job.guidance_schedule)):
        yield _and_error("needs guidance in the whole --guidance-schedule")
    if job.prompt_2 is not None:
        yield _and_error("does not work with --prompt-2")


def _and_error(reason: str, hint: str = _HINT) -> UsageError:
    return UsageError(f"prompt: AND {reason}", code="usage.prompt", hint=hint)
