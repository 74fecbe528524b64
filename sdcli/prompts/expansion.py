"""From what was said, in files and on the command line, to requests.

A setting is looked for in this order, and the first place that says it wins:

1. the line (row, object, table) of the prompt itself
2. the command line
3. the defaults at the top of the prompt file
4. sdcli.toml, a profile in it, and SDCLI_* variables
5. the model

So flags win over every default, and a line's own word wins over a flag, as in A1111 and kohya.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from sdcli.errors import SdcliError, UsageError, UsageErrors
from sdcli.prompts import sweep
from sdcli.prompts.entry import PromptEntry, located_error
from sdcli.prompts.field_values import (
    PROMPT,
    build_request,
    entry_values,
    error_field,
    related_fields,
    value_errors,
    written_name,
)
from sdcli.prompts.fields import SIZE
from sdcli.prompts.sweep import PromptReplacement, SweepAxes
from sdcli.prompts.wildcards import Wildcards, has_wildcards
from sdcli.request import GenerationRequest

Validator = Callable[[GenerationRequest], Iterable[tuple[str, SdcliError]]]
"""All that a request's model could not do, each with the field that it is about."""


@dataclass(frozen=True, kw_only=True)
class RequestTemplate:
    """What is said of every request, typed or in settings. Raises UsageError for what cannot be.

    A `sample` has, of many seeds and wildcards, only as many as it takes to check the rest.
    """

    flags: SweepAxes = field(default_factory=dict)
    settings: SweepAxes = field(default_factory=dict)
    replacements: Sequence[PromptReplacement] = ()
    wildcards: Wildcards | None = None
    sample: bool = False

    def __post_init__(self) -> None:
        for axes in (self.flags, self.settings):
            for error in value_errors(axes).values():
                raise error

    def expand(
        self, line: SweepAxes, defaults: SweepAxes | None = None
    ) -> Iterator[GenerationRequest]:
        """All that one prompt asks for: prompts replaced, times the sweep, times wildcards."""
        axes = self._axes(line, defaults)
        if self.sample:
            axes["seed"] = _ends(axes.get("seed", (None,)))
        rest = {name: values for name, values in axes.items() if name != PROMPT}
        for prompt in self._prompts(str(axes[PROMPT][0])):
            for values in sweep.combinations(rest):
                yield from self._filled(build_request({**values, PROMPT: prompt}))

    def count_images(self, line: SweepAxes, defaults: SweepAxes | None = None) -> int | None:
        """How many images that is, None when wildcards decide it."""
        axes = self._axes(line, defaults)
        prompt = str(axes[PROMPT][0])
        if self.wildcards and self.wildcards.mode == "all" and has_wildcards(prompt):
            return None
        return (
            len(self._prompts(prompt))
            * sweep.count_combinations(axes)
            * int(str(axes.get("count", (1,))[0]))
        )

    def _axes(self, line: SweepAxes, defaults: SweepAxes | None) -> dict[str, Sequence[object]]:
        return _merged(line, self.flags, defaults or {}, self.settings)

    def _prompts(self, prompt: str) -> Sequence[str]:
        prompts: Sequence[str] = (prompt,)
        for replacement in self.replacements:
            prompts = [made for one in prompts for made in replacement.apply(one)]
        return prompts

    def _filled(self, request: GenerationRequest) -> Iterable[GenerationRequest]:
        if not self.wildcards:
            return (request,)
        filled = self.wildcards.requests(request)
        return islice(filled, 1) if self.sample else filled


class EntryExpander:
    """The entries of one source to requests. Entries without a prompt, before the first with one,
    are the source's defaults.

    Tells afterwards what the command line said in vain: `unused_flags`, `unused_replacements`;
    and, of what was checked, how many images it makes (None when wildcards decide it).
    """

    def __init__(self, asked: RequestTemplate, examine: Validator = lambda request: ()) -> None:
        self._asked = asked
        self._sample = replace(asked, sample=True)
        self._examine = examine
        self._defaults: dict[str, Sequence[object]] = {}
        self._set_by: dict[str, PromptEntry] = {}
        self.has_prompts = False
        self.images: int | None = 0
        self.unused_flags = set(asked.flags)
        self.unused_replacements = list(asked.replacements)

    def expand(self, entry: PromptEntry) -> Iterator[GenerationRequest]:
        """The requests of an entry. Raises UsageErrors with what is wrong with it, and where."""
        line, faults = entry_values(entry)
        if PROMPT not in line or faults:
            if faults := self.validate(entry):
                raise UsageErrors(faults)
            return
        self.has_prompts = True
        try:
            yield from self._asked.expand(line, self._defaults)
        except UsageError as error:
            raise UsageErrors(self.validate(entry) or [self._placed(entry, error)]) from error

    def validate(self, entry: PromptEntry) -> list[UsageError]:
        """All that is wrong with an entry by itself and for its model, and where.

        Raises the SdcliError of a model that the entry has only from the command line.
        """
        line, faults = entry_values(entry)
        if PROMPT not in line and not written_name(entry, [PROMPT]):
            return self._defaults_faults(entry, line, faults)
        self.has_prompts = True
        found = {error.message: error for error in faults}
        self._try_out(entry, {PROMPT: ("",), **line}, found)
        if not found:
            self._note(line)
        return list(found.values())

    def _try_out(self, entry: PromptEntry, line: SweepAxes, found: dict[str, UsageError]) -> None:
        """Add what is wrong with any of the requests of a line; a wrong value hides no other."""

        def add(error: SdcliError, about: str | None = None) -> None:
            placed = self._placed(entry, error, about)
            found.setdefault(placed.message, placed)

        try:
            for request in self._sample.expand(line, self._defaults):
                for about, error in self._examine(request):
                    add(error, about)
        except UsageError as error:
            wrong = value_errors(line)
            for one in wrong.values() or [error]:
                add(one)
            if wrong:
                rest = {name: values for name, values in line.items() if name not in wrong}
                self._try_out(entry, {PROMPT: ("",), **rest}, found)

    def _note(self, line: SweepAxes) -> None:
        self.unused_flags &= line.keys()
        prompt = str(line[PROMPT][0])
        self.unused_replacements = [r for r in self.unused_replacements if r.old not in prompt]
        images = self._asked.count_images(line, self._defaults)
        self.images = None if images is None or self.images is None else self.images + images

    def _defaults_faults(
        self, entry: PromptEntry, line: SweepAxes, faults: Sequence[UsageError]
    ) -> list[UsageError]:
        """What is wrong with an entry as defaults; they hold from now on when nothing is."""
        wrong = value_errors(line).values()
        faults = [*faults, *(self._placed(entry, error) for error in wrong)]
        if self.has_prompts:
            hint = "defaults stand at the top, before the first prompt"
            faults.append(located_error(entry.location_of(PROMPT), "no prompt", hint=hint))
        if not faults:
            self._defaults.update(line)
            self._set_by.update(dict.fromkeys(line.keys() - self._asked.flags.keys(), entry))
        return faults

    def _placed(
        self, entry: PromptEntry, error: SdcliError, about: str | None = None
    ) -> UsageError:
        """The error with the place of the field that it is about, in the entry or the defaults."""
        names = related_fields(about or error_field(error))
        set_by = [self._set_by[name] for name in names if name in self._set_by]
        for one in (entry, *set_by):
            if written := written_name(one, names):
                place = one.location_of(written)
                return located_error(place, error.message, code=error.code, hint=error.hint)
        if not isinstance(error, UsageError):
            raise error
        return located_error(entry.location, error.message, code=error.code, hint=error.hint)


def _merged(*levels: SweepAxes) -> dict[str, Sequence[object]]:
    """All that is said, the first level that says something winning. Raises UsageError."""
    merged = {name: values for level in reversed(levels) for name, values in level.items()}
    if SIZE not in merged:
        return merged
    sides: set[str] = set()
    for level in levels:
        if SIZE in level:
            break
        sides |= {"width", "height"} & level.keys()
    if len(sides) == 1:
        [side] = sides
        raise UsageError(f"a {side} of its own beside a sweep of sizes", code=f"usage.{side}")
    overruled = (SIZE,) if sides else ("width", "height")
    return {name: values for name, values in merged.items() if name not in overruled}


def _ends(values: Sequence[object]) -> Sequence[object]:
    return (values[0], values[-1]) if len(values) > 2 else values
