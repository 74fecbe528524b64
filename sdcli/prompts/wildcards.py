"""Wildcards in prompts: {a|b}, {2$$a|b|c} and __name__, by the library dynamicprompts."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

from sdcli.errors import UsageError, did_you_mean
from sdcli.prompts.wildcard_count import check_combinations
from sdcli.request import GenerationRequest

Mode = Literal["random", "all"]

_NAME = re.compile(r"__([^\s_](?:[^\n]*?[^\s_])?)__")
_MARKS: Final = re.compile(r"[{}$%]|__")
_HASH: Final = "\ue023"  # of a private range: no prompt has it


@dataclass(frozen=True, kw_only=True)
class Wildcards:
    """How wildcards are filled: each image's by its own seed, or with every combination.

    `folder` holds the lists: `color.txt` with a line a colour is `__color__`. A prompt without a
    wildcard stays as it is, to the letter.
    """

    mode: Mode = "random"
    folder: Path | None = None

    def __post_init__(self) -> None:
        if self.folder is not None and not self.folder.is_dir():
            raise UsageError(
                f"--wildcards: no folder at {str(self.folder)!r}",
                code="usage.wildcards",
                hint="a folder of text files, where color.txt is __color__",
            )

    def requests(self, request: GenerationRequest) -> Iterator[GenerationRequest]:
        """The request once for every prompt it stands for. Raises UsageError.

        With "random", image i of its count has its prompt from seed + i. Where no seed was asked
        for it stays as it is: the seed is drawn when it is planned, and then it comes here again.
        """
        if not has_wildcards(request.prompt):
            yield request
        elif self.mode == "all":
            for prompt in self._every(request.prompt):
                yield replace(request, prompt=prompt)
        elif request.seed is None:
            self._pick(request.prompt, 0)  # what is wrong with it is told now
            yield request
        else:
            for seed in range(request.seed, request.seed + request.count):
                prompt = self._pick(request.prompt, seed)
                yield replace(request, prompt=prompt, seed=seed, count=1)

    def is_open(self, request: GenerationRequest) -> bool:
        """Whether the prompt still waits for a seed to be drawn."""
        return self.mode == "random" and request.seed is None and has_wildcards(request.prompt)

    def _pick(self, template: str, seed: int) -> str:
        from dynamicprompts.generators import RandomPromptGenerator

        with _translated(template):
            generator = RandomPromptGenerator(self._lists, seed=seed)
            drawn = generator.generate(_hidden(self._checked(template)), 1, seeds=[seed])[0]
            return str(drawn).replace(_HASH, "#")

    def _every(self, template: str) -> Iterator[str]:
        # Not the library's generator, which makes all of them before it gives the first.
        from dynamicprompts.enums import SamplingMethod
        from dynamicprompts.sampling_context import SamplingContext

        with _translated(template):
            check_combinations(_hidden(self._checked(template)), self._values)
            context = SamplingContext(SamplingMethod.COMBINATORIAL, self._lists)
            for drawn in context.sample_prompts(_hidden(template)):
                yield str(drawn).replace(_HASH, "#")

    @cached_property
    def _lists(self) -> Any:
        from dynamicprompts.wildcards import WildcardManager

        return WildcardManager(self.folder)

    def _checked(self, template: str) -> str:
        """The template, when every list that it needs is there and none needs itself: else its
        combinations would never end."""
        self._check(template, template, (), set())
        return template

    def _check(self, template: str, text: str, within: tuple[str, ...], seen: set[str]) -> None:
        for name in _NAME.findall(text):
            if name in within:
                raise _refusal(template, f"goes round in a circle: __{name}__ is in itself")
            if name not in seen:
                seen.add(name)
                for value in self._values(name):
                    self._check(template, value, (*within, name), seen)

    def _values(self, name: str) -> list[str]:
        bare = name.partition("(")[0]
        values = [] if ".." in bare or not self.folder else self._lists.get_values(bare)
        texts = [str(getattr(value, "content", value)) for value in values]
        if texts:
            return texts
        known = sorted(self._lists.get_collection_names()) if self.folder else []
        raise UsageError(
            f"no wildcard __{name}__",
            code="usage.wildcard",
            hint=did_you_mean(name, known)
            or (f"{self.folder} has {', '.join(known) or 'none'}" if self.folder else None)
            or "give the folder of its list: --wildcards DIR",
        )


def _hidden(template: str) -> str:
    """The template with # as a sign that the library does not take for the start of a comment."""
    return template.replace("#", _HASH)


def has_wildcards(prompt: str) -> bool:
    """Whether the library could find anything to fill in the prompt."""
    return bool(_MARKS.search(prompt))


@contextmanager
def _translated(template: str) -> Iterator[None]:
    """Raise what the library says about a template as a UsageError."""
    from pyparsing import ParseBaseException

    # It speaks to pyparsing as of old, and every parse would warn of that.
    warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"dynamicprompts\.")
    try:
        yield
    except ParseBaseException as error:
        raise _refusal(template, f"breaks off at {template[error.loc :][:20]!r}") from error
    except RecursionError as error:
        raise _refusal(template, "is nested too deeply, or goes round in a circle") from error
    except (KeyError, StopIteration, ValueError) as error:
        why = f": {error.args[0]}" if error.args else ""
        raise _refusal(template, f"cannot be filled{why}") from error


def _refusal(template: str, why: str) -> UsageError:
    return UsageError(
        f"wildcards of {template[:60]!r}: it {why}",
        code="usage.prompt",
        hint="braces stay braces without --wildcard-mode and --wildcards",
    )
