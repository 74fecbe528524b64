"""Turn the arguments of Python's functions into requests."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Any, Final

from sdcli.catalog.synonyms import find_option
from sdcli.errors import SdcliError, UsageError, UsageErrors, closest, quoted
from sdcli.field_metadata import field_infos
from sdcli.library.output import FileOptions
from sdcli.library.rows import RowOptions
from sdcli.library.scheduler_list import SchedulerInfo
from sdcli.library.signature import setting_names
from sdcli.planning.validation import RequestValidator
from sdcli.prompts.columns import DEFAULT_COLUMNS, Columns
from sdcli.prompts.entry import PromptEntry, SourceLocation
from sdcli.prompts.entry_expander import EntryExpander
from sdcli.prompts.expansion import RequestTemplate
from sdcli.prompts.field_values import PROMPT, separate_size
from sdcli.prompts.fields import NAMES, canonical_field, field_type
from sdcli.prompts.sweep import PromptReplacement, values_from_data
from sdcli.prompts.wildcards import Wildcards
from sdcli.request import GenerationRequest
from sdcli.run_flags import RUN_FLAGS
from sdcli.runner.input_images import read_image

Prompt = str | Mapping[str, Any] | GenerationRequest

_RUN_OPTIONS: Final = frozenset(field_infos(*RUN_FLAGS)) | {"profile"}
_ADVICE: Final[Mapping[str, str]] = {
    "generator": "use seed",
    "num_images_per_prompt": "use count",
    "callback_on_step_end": "use on_step",
    "callback": "use on_step",
    "output_type": "a result has .image (PIL) and .pixels (numpy)",
    "return_dict": "leave it out",
    "latents": "use seed; saved latents are continued by: sdcli latents resume",
    "json": "results are Python objects; leave it out",
    "jsonl": "results are Python objects; leave it out",
    "format": "use out with a folder",
    "trace": "use sdcli generate --trace DIR on the command line",
    "as_input": "read the records with the command line: sdcli batch FOLDER --as-input",
    "grid_columns": "notebooks show a list of results side by side; leave it out",
    "grid_scale": "notebooks show a list of results side by side; leave it out",
    "list_done": "the result counts them as skipped; leave it out",
    "grid": "notebooks show a list of results side by side; the command line labels grids",
    "preview": "use on_step, or progress=True",
    "preview_out": "use on_step, or progress=True",
    "preview_vae": "use on_step, or progress=True",
    "quiet": "use progress=False",
    "warm": "a model stays loaded from call to call; leave it out",
    "verbose": "a result has .run and .seconds; leave it out",
    "null": "use a list of prompts",
    **dict.fromkeys(
        ("workers", "gpus", "shard", "ray", "archive", "shards_of"), "use: sdcli batch"
    ),
    "dry_run": "use: sdcli batch --dry-run",
    "profile": "sdcli.toml is only read by the command line; leave it out",
}
"""Arguments of Diffusers and options of the command line that Python does not have."""


_EXACT: Final = 2**53


@dataclass(frozen=True, kw_only=True)
class Expansion:
    """How prompts are replaced and expanded, as on the command line."""

    replace: str | Iterable[str] | None = None
    wildcards: str | os.PathLike[str] | None = None
    wildcard_mode: str | None = None

    def template(
        self, function: str, own: Iterable[str], settings: Mapping[str, object]
    ) -> RequestTemplate:
        """Return what all prompts share. `own` are further arguments of the function."""
        replace = [self.replace] if isinstance(self.replace, str) else self.replace
        return RequestTemplate(
            flags=_axes(function, own, settings),
            replacements=[PromptReplacement.parse(text) for text in replace or ()],
            wildcards=self._open_wildcards(),
        )

    def _open_wildcards(self) -> Wildcards | None:
        if self.wildcard_mode not in (None, "random", "all"):
            raise UsageError(
                f"wildcard_mode: {quoted(self.wildcard_mode)} is not random or all",
                code="usage.wildcard_mode",
            )
        if self.wildcards is None and self.wildcard_mode is None:
            return None
        from sdcli.inputs.paths import expand_user

        folder = None if self.wildcards is None else expand_user(os.fspath(self.wildcards))
        return Wildcards(mode="all" if self.wildcard_mode == "all" else "random", folder=folder)


class PromptList:
    """The requests of prompts, dictionaries and requests, checked before the first is generated.

    `skip` receives the error of an invalid entry; without it, all errors are raised together.
    `warn` receives the warnings about valid ones, each once.
    """

    def __init__(
        self,
        template: RequestTemplate,
        warn: Callable[[str], None],
        skip: Callable[[SdcliError], None] | None = None,
        columns: Columns = DEFAULT_COLUMNS,
    ) -> None:
        self._validator = RequestValidator(read_image)
        self._columns = columns
        self._expander = EntryExpander(template, self._validator)
        self._has_settings = bool(template.flags)
        self._skip = skip
        self._warn = warn
        self._warned: set[str] = set()

    def expand(self, prompts: Sequence[Prompt], *, is_single: bool) -> list[GenerationRequest]:
        """Return the requests in their order. Raises UsageErrors and ModelError."""
        requests: list[GenerationRequest] = []
        errors: list[UsageError] = []
        places = [f"prompts[{index}]" for index in range(len(prompts))] if not is_single else [""]
        if self._has_settings and all(isinstance(prompt, str) for prompt in prompts):
            # Settings that all prompts share are checked without the place of a prompt.
            self._try_expand("", "", errors)
            self._handle(errors, can_skip=False)
        for prompt, place in zip(prompts, places, strict=True):
            requests += self._try_expand(prompt, place, errors)
        self._handle(errors, can_skip=bool(requests))
        if not requests:
            raise UsageError("no prompt", code="usage.prompt", hint="e.g. 'a cat and a guitar'")
        return requests

    def _handle(self, errors: Sequence[UsageError], *, can_skip: bool) -> None:
        if self._skip and can_skip:
            for skipped in errors:
                self._skip(skipped)
        elif errors:
            raise errors[0] if len(errors) == 1 else UsageErrors(errors)

    def _try_expand(
        self, prompt: Prompt, place: str, errors: list[UsageError]
    ) -> list[GenerationRequest]:
        """Return the requests of a prompt, or none and append its errors."""
        try:
            return list(self._requests(prompt, place))
        except UsageErrors as error:
            errors += error.several
        except UsageError as error:
            errors.append(error)
        return []

    def _requests(self, prompt: Prompt, place: str) -> Iterator[GenerationRequest]:
        if isinstance(prompt, GenerationRequest):
            self._check_request(prompt)
            yield prompt
            return
        entry = self._columns.convert(_entry(prompt, place))
        errors = self._expander.validate(entry)
        self._expander.advance(entry)
        if errors:
            raise UsageErrors([_without_place(error, place) for error in errors])
        for note in self._expander.notes(entry):
            if note not in self._warned:
                self._warned.add(note)
                self._warn(note)
        yield from self._expander.expand(entry)

    def _check_request(self, request: GenerationRequest) -> None:
        if self._has_settings:
            raise UsageError(
                "a GenerationRequest has its own settings, and takes no others",
                code="usage.request",
                hint="use dataclasses.replace(request, ...), or give the prompt as text",
            )
        for _, error in self._validator(request):
            raise error


def one_of(prompts: Any, settings: dict[str, Any]) -> Any:
    """Return the prompts, or the argument named prompt. Raises UsageError if both are given."""
    named = settings.pop("prompt", None)
    if named is not None and prompts is not None:
        raise UsageError("the prompt is set twice", code="usage.prompt", hint="leave prompt out")
    return prompts if named is None else named


def unknown_argument(function: str, name: str, own: Iterable[str]) -> UsageError:
    """Return the error of an argument that a function does not have, naming the nearest."""
    key = name.lower()
    synonym = find_option(name)
    advice = _ADVICE.get(key)
    if advice is None and synonym:
        option = (synonym.ours or "").removeprefix("--").replace("-", "_")
        is_option = (synonym.ours or "").startswith("--")
        advice = f"use {option}" if is_option else synonym.note or "leave it out"
    if advice is None and key in _RUN_OPTIONS:
        advice = "it is an option of the command line; leave it out"
    if advice is None:
        shared = {f.name for group in (FileOptions, Expansion, RowOptions) for f in fields(group)}
        near = closest(key, {*own, *NAMES, *setting_names(), *shared})
        advice = f"did you mean {near}?" if near else "sdcli help python"
    return UsageError(
        f"{function}() has no argument {quoted(name)}", code="usage.argument", hint=advice
    )


def field_value(name: str, value: Any) -> Any:
    """Return the value of a field as JSON has it; 3 becomes 3.0 where the command line has that."""
    value = plain_value(value)
    try:
        is_fraction = field_type(canonical_field(name)) == "float"
    except UsageError:  # an unknown field, of which the caller tells
        return value
    items = value if isinstance(value, list) else [value]
    # The record and the job's id have the number as it was given.
    if is_fraction:
        items = [float(item) if _is_plain_int(item) else item for item in items]
    return items if isinstance(value, list) else items[0]


def _is_plain_int(value: object) -> bool:
    """Whether a value is a whole number that a float holds exactly."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < _EXACT


def plain_value(value: Any) -> Any:
    """Return a value as JSON has it: of numpy's numbers, paths, ranges, tuples and torch.dtype."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, SchedulerInfo):
        return value.name
    if isinstance(value, list | tuple | range):
        return [plain_value(item) for item in value]
    if type(value).__name__ == "dtype":
        return str(value).removeprefix("torch.")
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return value.item()
    if not isinstance(value, bool | int | float | str):
        with suppress(TypeError):
            return operator.index(value)
    return value


def _axes(function: str, own: Iterable[str], settings: Mapping[str, object]) -> dict[str, Any]:
    """Return the values of each field. Raises UsageError for unknown arguments."""
    axes: dict[str, Any] = {}
    for name, value in settings.items():
        try:
            field = canonical_field(name)
        except UsageError:
            raise unknown_argument(function, name, own) from None
        if field in axes:
            raise UsageError(f"{field} is set twice, under two names", code="usage.argument")
        if value is not None:
            axes[field] = values_from_data(field, field_value(field, value))
    return separate_size(axes)


def _entry(prompt: Prompt, place: str) -> PromptEntry:
    if isinstance(prompt, str):
        fields: Mapping[str, object] = {PROMPT: prompt}
    elif isinstance(prompt, Mapping):
        fields = {str(name): field_value(str(name), value) for name, value in prompt.items()}
    else:
        message = f"{place or 'prompts'}: a prompt is text, a dict or a GenerationRequest"
        hint = f"this is a {type(prompt).__name__}"
        raise UsageError(message, code="usage.prompt", hint=hint)
    return PromptEntry(fields=fields, location=SourceLocation(place))


def _without_place(error: UsageError, place: str) -> UsageError:
    """Return the error of a single prompt without its empty location."""
    if place or not error.message.startswith(": "):
        return error
    return UsageError(error.message.removeprefix(": "), code=error.code, hint=error.hint)


def collect(prompts: Any) -> tuple[list[Any], bool]:
    """Return prompts as a list, and whether they are a single one. Raises UsageError."""
    if isinstance(prompts, str | Mapping | GenerationRequest):
        return [prompts], True
    try:
        return list(prompts), False
    except TypeError:
        raise UsageError(
            f"prompts: {type(prompts).__name__} is not text or a list",
            code="usage.prompt",
            hint="e.g. 'a cat', or ['a cat', 'a dog']",
        ) from None
