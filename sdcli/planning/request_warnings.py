"""Warn about what a request can have by mistake: syntax of other tools, odd values."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from sdcli.errors import quoted
from sdcli.fields.prompt import COMPEL, PLAIN
from sdcli.prompts.syntax.presence import has_and
from sdcli.request import PROMPT_FIELDS, GenerationRequest

_NETWORK = re.compile(r"<(hypernet|embedding)\s*:[^<>]*>", re.IGNORECASE)
_ANY_NETWORK = re.compile(r"<(lora|lyco|hypernet|embedding)\s*:[^<>]*>", re.IGNORECASE)
_FOREIGN_WEIGHT = re.compile(r"(?<!\\)\([^()]+\)(?:[+-]+(?![\w+-])|\d*\.\d+)|[^\W\d_]+\+\+(?!\w)")
_A1111 = re.compile(r"\[[^\[\]]*[:|][^\[\]]*\]|\b(?:BREAK|AND)\b")
_WILDCARD = re.compile(r"\{[^{}]*\|[^{}]*\}|__[\w/*-]+?__")
_OPTION = re.compile(r"(?:^|(?<=\s))--[A-Za-z][\w-]*")
_COMMENT = re.compile(r"\s*(//|;)")
_NUMBER = re.compile(r"\s*[-+]?\d+([.,]\d+)?(x\d+)?\s*")
_LONGEST_EXCERPT: Final = 40
_WHERE: Final = {
    True: "and is drawn as words; only <lora:…> is read, and an embedding is its word alone, "
    "with --embedding FILE",
    False: "in this prompt",
}


class RequestWarnings:
    """Warns about each kind of mistake once, for all requests of a run.

    With `fills_wildcards`, braces in prompts have their meaning.
    """

    def __init__(self, warn: Callable[[str], None], *, fills_wildcards: bool) -> None:
        self._warn = warn
        self._fills_wildcards = fills_wildcards
        self._kinds: set[str] = set()
        self._previous: GenerationRequest | None = None

    def check(self, request: GenerationRequest) -> None:
        """Warn about the request, and about seeds that it repeats from the one before."""
        for kind, text in self._find(request):
            if kind not in self._kinds:
                self._kinds.add(kind)
                self._warn(text)
        self._previous = request

    def _find(self, request: GenerationRequest) -> Iterator[tuple[str, str]]:
        if not request.prompt.strip():
            yield "empty", "a prompt is empty: its image shows what the model likes to draw"
        elif _COMMENT.match(request.prompt):
            yield "comment", f"{_excerpt(request.prompt)} is drawn: only # begins a comment"
        negative = request.negative_prompt or ""
        if _NUMBER.fullmatch(negative):
            yield (
                "number",
                f"the negative prompt is {_excerpt(negative)}, a number; "
                "-n is --negative, and --count is the number of images",
            )
        for name in PROMPT_FIELDS:
            if not (text := getattr(request, name)):
                continue
            yield from _find_syntax(text, self._fills_wildcards)
            reads_loras = name == "prompt" and request.prompt_syntax != PLAIN
            networks = _NETWORK if reads_loras else _ANY_NETWORK
            if "<" in text and (match := networks.search(text)):
                yield "network", f"{_excerpt(match[0])} loads nothing {_WHERE[reads_loras]}"
            if request.reads_a1111:
                yield from _find_foreign_weights(text)
            elif request.prompt_syntax == COMPEL and (match := _A1111.search(text)):
                yield (
                    "a1111",
                    f"{_excerpt(match[0])} is A1111's syntax, and drawn as words with "
                    "--prompt-syntax compel",
                )
        if request.reads_a1111 and request.prompt.isupper() and has_and(request.prompt):
            yield (
                "and",
                "AND combines two prompts, in one of capital letters too; --prompt-syntax plain "
                "draws it as a word",
            )
        if self._repeats_seeds(request):
            yield (
                "seeds",
                f"some images are drawn twice: with --count {request.count}, each seed "
                "also draws the images of the seeds after it; leave --count out, or give one seed",
            )

    def _repeats_seeds(self, request: GenerationRequest) -> bool:
        before = self._previous
        if request.count == 1 or before is None or None in (before.seed, request.seed):
            return False
        distance = abs((before.seed or 0) - (request.seed or 0))
        return 0 < distance < request.count and replace(before, seed=request.seed) == request


def _find_syntax(prompt: str, fills_wildcards: bool) -> Iterator[tuple[str, str]]:
    """Yield the kinds of syntax in a prompt that have no meaning here."""
    has_wildcard = not fills_wildcards and ("{" in prompt or "__" in prompt)
    if has_wildcard and (match := _WILDCARD.search(prompt)):
        yield (
            "wildcard",
            f"{_excerpt(match[0])} is read as words; --wildcard-mode random fills it",
        )
    if "--" in prompt and (match := _OPTION.search(prompt)):
        yield (
            "option",
            f"{_excerpt(match[0])} in a prompt is read as words; options go outside its quotes",
        )


def _find_foreign_weights(prompt: str) -> Iterator[tuple[str, str]]:
    # The expression takes longer than all other checks, so a quick look comes first.
    if ("(" in prompt or "++" in prompt) and (match := _FOREIGN_WEIGHT.search(prompt)):
        yield (
            "weight",
            f"{_excerpt(match[0])} is InvokeAI's way to write a weight; write (word:1.3), or add "
            "--prompt-syntax compel",
        )


def _excerpt(text: str) -> str:
    return quoted(text if len(text) <= _LONGEST_EXCERPT else f"{text[: _LONGEST_EXCERPT - 1]}…")
