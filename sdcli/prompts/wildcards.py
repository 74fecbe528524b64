"""Fill wildcards in prompts: {a|b}, {2$$a|b|c} and __name__, as dynamicprompts does."""

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
from sdcli.regular_file import refuse_special_files
from sdcli.request import GenerationRequest

Mode = Literal["random", "all"]

_LIST_NAME = re.compile(r"__([^\s_](?:[^\n]*?[^\s_])?)__")
_SYNTAX: Final = re.compile(r"[{}$%]|__")

_LIST_SUFFIXES: Final = (".txt", ".json", ".yaml", ".yml")

# The library would take # for the start of a comment. Prompts don't use this private character.
_HASH: Final = "\ue023"


@dataclass(frozen=True, kw_only=True)
class Wildcards:
    """Settings for filling wildcards: by the seed of each image, or with all combinations.

    `folder` has the lists: `color.txt`, with one color per line, is `__color__`. Raises UsageError
    if there is no such folder. A prompt without wildcards is never changed.
    """

    mode: Mode = "random"
    folder: Path | None = None

    def __post_init__(self) -> None:
        if self.folder is not None and not self.folder.is_dir():
            raise UsageError(
                f"--wildcards: folder {str(self.folder)!r} not found",
                code="usage.wildcards",
                hint="use a folder of text files; its color.txt is __color__ in a prompt",
            )

    def expand(self, request: GenerationRequest) -> Iterator[GenerationRequest]:
        """Yield the request once for each prompt that its wildcards make. Raises UsageError.

        In the mode "random", image i of the count gets the prompt of seed + i. Without a seed the
        request is yielded unchanged; expand it again once the planner has chosen one.
        """
        if not has_wildcards(request.prompt):
            yield request
        elif self.mode == "all":
            for prompt in self._combinations(request.prompt):
                yield replace(request, prompt=prompt)
        elif request.seed is None:
            # Reports an invalid template now, and not only when the run has begun.
            self._fill(request.prompt, seed=0)
            yield request
        else:
            for seed in range(request.seed, request.seed + request.count):
                prompt = self._fill(request.prompt, seed)
                yield replace(request, prompt=prompt, seed=seed, count=1)

    def needs_seed(self, request: GenerationRequest) -> bool:
        """Whether the wildcards of a request can be filled only when it has a seed."""
        return self.mode == "random" and request.seed is None and has_wildcards(request.prompt)

    def _fill(self, template: str, seed: int) -> str:
        """Return the prompt that a seed picks."""
        from dynamicprompts.generators import RandomPromptGenerator

        with _usage_errors(template):
            self._check_lists(template)
            generator = RandomPromptGenerator(self._manager, seed=seed)
            prompts = generator.generate(_escape_hash(template), 1, seeds=[seed])
            return _unescape_hash(str(prompts[0]))

    def _combinations(self, template: str) -> Iterator[str]:
        """Yield all prompts of a template, one at a time."""
        from dynamicprompts.enums import SamplingMethod
        from dynamicprompts.sampling_context import SamplingContext

        with _usage_errors(template):
            self._check_lists(template)
            escaped = _escape_hash(template)
            check_combinations(escaped, self._list_values)
            # CombinatorialPromptGenerator would hold all prompts before it returns the first.
            context = SamplingContext(SamplingMethod.COMBINATORIAL, self._manager)
            for prompt in context.sample_prompts(escaped):
                yield _unescape_hash(str(prompt))

    @cached_property
    def _manager(self) -> Any:
        from dynamicprompts.wildcards import WildcardManager

        if self.folder is not None:
            # The library opens every list of the folder.
            for folder in (self.folder, *filter(Path.is_dir, self.folder.rglob("*"))):
                refuse_special_files(folder, _LIST_SUFFIXES, UsageError, "usage.wildcards")
        return WildcardManager(self.folder)

    def _check_lists(self, template: str) -> None:
        """Raise UsageError if a list is missing or refers to itself."""
        checked: set[str] = set()

        def check(text: str, parents: tuple[str, ...]) -> None:
            for name in _LIST_NAME.findall(text):
                # The combinations of such a list would never end.
                if name in parents:
                    raise _template_error(template, f"__{name}__ refers to itself")
                if name not in checked:
                    checked.add(name)
                    for value in self._list_values(name):
                        check(value, (*parents, name))

        check(template, ())

    def _list_values(self, name: str) -> list[str]:
        """Return the lines of a list. Raises UsageError if it is missing or empty."""
        # Parameters follow the name: __color(shade=dark)__
        list_name = name.partition("(")[0]
        # ".." could leave the folder.
        is_safe = self.folder and ".." not in list_name
        values = self._manager.get_values(list_name) if is_safe else ()
        if texts := [str(getattr(value, "content", value)) for value in values]:
            return texts
        raise self._unknown_list_error(name)

    def _unknown_list_error(self, name: str) -> UsageError:
        known = sorted(self._manager.get_collection_names()) if self.folder else []
        hint = did_you_mean(name, known)
        if not hint and self.folder:
            hint = f"{self.folder} has these lists: {', '.join(known) or 'none'}"
        return UsageError(
            f"unknown wildcard __{name}__",
            code="usage.wildcard",
            hint=hint or "set the folder of wildcard lists: --wildcards DIR",
        )


def has_wildcards(prompt: str) -> bool:
    """Whether the prompt has anything that the library may read as a wildcard."""
    return bool(_SYNTAX.search(prompt))


def _escape_hash(template: str) -> str:
    return template.replace("#", _HASH)


def _unescape_hash(prompt: str) -> str:
    return prompt.replace(_HASH, "#")


@contextmanager
def _usage_errors(template: str) -> Iterator[None]:
    """Raise the library's errors about a template as UsageErrors."""
    from pyparsing import ParseBaseException

    # The library calls pyparsing by its old names, which warns at every parse.
    warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"dynamicprompts\.")
    try:
        yield
    except ParseBaseException as error:
        rest = template[error.loc :][:20]
        raise _template_error(template, f"syntax error at {rest!r}") from error
    except RecursionError as error:
        raise _template_error(template, "nested too deeply, or circular") from error
    except (KeyError, StopIteration, ValueError) as error:
        reason = f": {error.args[0]}" if error.args else ""
        raise _template_error(template, f"can't be filled{reason}") from error


def _template_error(template: str, reason: str) -> UsageError:
    return UsageError(
        f"wildcards in {template[:60]!r}: {reason}",
        code="usage.prompt",
        hint="without --wildcard-mode and --wildcards, braces are left in the prompt",
    )
