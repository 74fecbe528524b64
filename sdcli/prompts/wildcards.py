"""Fill wildcards in prompts: {a|b}, {2$$a|b|c} and __name__, as dynamicprompts does."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

from sdcli.errors import UsageError, quoted
from sdcli.prompts.wildcard_count import check_combinations
from sdcli.prompts.wildcard_lists import ListValue, WildcardLists
from sdcli.prompts.wildcard_syntax import LIST_NAME, has_wildcards, protect_text, restore_text
from sdcli.request import PROMPT_FIELDS, GenerationRequest

Mode = Literal["random", "all"]

_LIBRARY_ERRORS: Final = (
    ArithmeticError, AssertionError, AttributeError, IndexError, StopIteration, TypeError,
    ValueError,
)  # fmt: skip
"""Raised for templates that the parser accepts and the samplers cannot fill."""


@dataclass(frozen=True, kw_only=True)
class Wildcards:
    """Settings for filling wildcards: by the seed of each image, or with all combinations.

    `folder` has the lists: `color.txt`, with one color per line, is `__color__`. Raises UsageError
    if there is no such folder. Negative prompts
    are filled too. A prompt without wildcards is never changed.
    """

    mode: Mode = "random"
    folder: Path | None = None

    def __post_init__(self) -> None:
        if self.folder is not None and not os.path.isdir(self.folder):
            raise UsageError(
                f"--wildcards: folder {quoted(str(self.folder))} not found",
                code="usage.wildcards",
                hint="use a folder of text files; its color.txt is __color__ in a prompt",
            )

    def expand(self, request: GenerationRequest) -> Iterator[GenerationRequest]:
        """Yield the request once for each pair of prompts that its wildcards make.

        In the mode "random", image i of the count gets the prompts of seed + i. Without a seed the
        request is yielded unchanged; expand it again once the planner has chosen one. Raises
        UsageError.
        """
        if not in_request(request):
            yield request
        elif self.mode == "all":
            yield from self._all_combinations(request)
        elif request.seed is None:
            # Reports an invalid template now, and not only when the run has begun.
            self._fill_request(request, seed=0)
            yield request
        else:
            for seed in range(request.seed, request.seed + request.count):
                yield replace(self._fill_request(request, seed), seed=seed, count=1)

    def needs_seed(self, request: GenerationRequest) -> bool:
        """Whether the wildcards of a request can be filled only when it has a seed."""
        return self.mode == "random" and request.seed is None and in_request(request)

    def _fill_request(self, request: GenerationRequest, seed: int) -> GenerationRequest:
        templates = texts_of(request)
        texts: dict[str, Any] = {name: self._fill(templates[name], seed) for name in templates}
        return replace(request, **texts)

    def _fill(self, template: str, seed: int) -> str:
        """Return the prompt that a seed picks."""
        if not has_wildcards(template):
            return template
        from dynamicprompts.generators import RandomPromptGenerator

        with _usage_errors(template):
            self._check(template)
            generator = RandomPromptGenerator(self._lists, seed=seed)
            prompts = generator.generate(protect_text(template), 1, seeds=[seed])
            return restore_text(str(prompts[0]))

    def _all_combinations(self, request: GenerationRequest) -> Iterator[GenerationRequest]:
        templates = texts_of(request)
        with _usage_errors(request.prompt):
            for template in filter(has_wildcards, templates.values()):
                self._check(template)
            check_combinations(list(templates.values()), self._protected_lines)
        for texts in self._products(list(templates.items())):
            yield replace(request, **texts)

    def _products(self, templates: Sequence[tuple[str, str]]) -> Iterator[dict[str, Any]]:
        """Yield every combination of the texts of several fields, the last one changing first."""
        if not templates:
            yield {}
            return
        (name, template), *rest = templates
        for text in self._combinations(template):
            for others in self._products(rest):
                yield {name: text, **others}

    def _combinations(self, template: str) -> Iterator[str]:
        """Yield all prompts of a template, one at a time."""
        if not has_wildcards(template):
            yield template
            return
        from dynamicprompts.enums import SamplingMethod
        from dynamicprompts.sampling_context import SamplingContext

        with _usage_errors(template):
            # CombinatorialPromptGenerator would hold all prompts before it returns the first.
            context = SamplingContext(SamplingMethod.COMBINATORIAL, self._lists)
            for prompt in context.sample_prompts(protect_text(template)):
                yield restore_text(str(prompt))

    @cached_property
    def _lists(self) -> Any:
        return WildcardLists(self.folder, weighted=self.mode == "random")

    @cached_property
    def _checked(self) -> set[str]:
        return set()

    def _protected_lines(self, name: str) -> list[str]:
        return [protect_text(value.text) for value in self._lists.values(restore_text(name))]

    def _check(self, template: str, parents: tuple[str, ...] = ()) -> None:
        """Raise UsageError if a list is missing, empty or wrong, or refers to itself."""
        for name in LIST_NAME.findall(template):
            # The combinations of such a list would never end.
            if name in parents:
                raise _template_error(template, f"__{name}__ refers to itself")
            if name in self._checked:
                continue
            for value in self._lists.values(name):
                if has_wildcards(value.text):
                    self._check_value(value, (*parents, name))
            self._checked.add(name)

    def _check_value(self, value: ListValue, parents: tuple[str, ...]) -> None:
        from dynamicprompts.parser.parse import parse

        try:
            with _usage_errors(value.text):
                self._check(value.text, parents)
                parse(protect_text(value.text))
        except UsageError as error:
            if error.message.startswith(str(self.folder)):  # the place of a list further down
                raise
            message = f"{value.place}: {error.message}"
            raise UsageError(message, code=error.code, hint=error.hint) from error


def in_request(request: GenerationRequest) -> bool:
    """Whether a prompt of a request has wildcards."""
    return any(map(has_wildcards, texts_of(request).values()))


def texts_of(request: GenerationRequest) -> dict[str, Any]:
    """Return the prompts of a request, by the names of their fields, without those left out."""
    texts = {name: getattr(request, name) for name in PROMPT_FIELDS}
    return {name: text for name, text in texts.items() if text is not None}


@contextmanager
def _usage_errors(template: str) -> Iterator[None]:
    """Raise the library's errors about a template as UsageErrors, and keep the library silent."""
    from pyparsing import ParseBaseException

    # The library calls pyparsing by its old names, which warns at every parse.
    warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"dynamicprompts\.")
    logging.getLogger("dynamicprompts").setLevel(logging.CRITICAL + 1)
    try:
        yield
    except ParseBaseException as error:
        rest = restore_text(protect_text(template)[error.loc :])[:20]
        raise _template_error(template, f"syntax error at {quoted(rest)}") from error
    except RecursionError as error:
        raise _template_error(template, "nested too deeply, or circular") from error
    except KeyError as error:
        raise _template_error(template, "a ${variable} has no value") from error
    except _LIBRARY_ERRORS as error:
        raise _template_error(template, "can't be filled") from error


def _template_error(template: str, reason: str) -> UsageError:
    return UsageError(
        f"wildcards in {quoted(template[:60])}: {reason}",
        code="usage.prompt",
        hint="without --wildcard-mode and --wildcards, braces are left in the prompt",
    )
