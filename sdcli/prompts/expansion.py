"""Expand prompt entries into requests, combining all levels of settings.

A setting takes its value from the first of these that has one:

1. the line, row, object or table of the prompt itself
2. the command line
3. the defaults at the top of the prompt file
4. sdcli.toml, the chosen profile in it, and SDCLI_* variables
5. the model

A1111 and kohya's scripts let a line override the command line, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from sdcli.errors import UsageError
from sdcli.name_template import NameTemplate
from sdcli.prompts import sweep
from sdcli.prompts.field_values import (
    PROMPT,
    build_request,
    value_errors,
)
from sdcli.prompts.fields import SIZE
from sdcli.prompts.guidance_sweep import guidance_notes, without_guidance
from sdcli.prompts.sweep import PromptReplacement, SweepAxes
from sdcli.prompts.wildcard_syntax import has_wildcards
from sdcli.prompts.wildcards import Wildcards
from sdcli.request import PROMPT_FIELDS, GenerationRequest
from sdcli.row import NO_ROW, Row


@dataclass(frozen=True, kw_only=True)
class RequestTemplate:
    """The settings that all requests of a command share. Raises UsageError for invalid ones.

    `flags` come from the command line, `settings` from configuration files and variables. A
    `sample` expands only as many seeds and wildcards as it takes to validate the rest. The keys of
    `name_template` must be in every row.
    """

    flags: SweepAxes = field(default_factory=dict)
    settings: SweepAxes = field(default_factory=dict)
    replacements: Sequence[PromptReplacement] = ()
    wildcards: Wildcards | None = None
    sample: bool = False
    name_template: NameTemplate | None = None

    def __post_init__(self) -> None:
        for axes in (self.flags, self.settings):
            for error in value_errors(axes).values():
                raise error

    def expand(
        self, line: SweepAxes, defaults: SweepAxes | None = None, row: Row = NO_ROW
    ) -> Iterator[GenerationRequest]:
        """Yield the requests of one prompt: replacements, times the sweep, times wildcards.

        `line` has the prompt and its own settings, `defaults` those of its file. Raises
        UsageError.
        """
        axes = self._merge(line, defaults)
        if varied := _varied_fields(axes):
            row = replace(row, varied=varied)
        if self.sample:
            axes["seed"] = _first_and_last(axes.get("seed", (None,)))
        swept = {name: values for name, values in axes.items() if name != PROMPT}
        for prompt in self._replace(str(axes[PROMPT][0])):
            for values in sweep.combinations(swept):
                used = {**values, **without_guidance(values, swept), PROMPT: prompt}
                yield from self._fill_wildcards(build_request(used, row))

    def count_images(self, line: SweepAxes, defaults: SweepAxes | None = None) -> int | None:
        """Return the number of images of one prompt, or None if wildcards decide it."""
        axes = self._merge(line, defaults)
        prompt = str(axes[PROMPT][0])
        texts = [str(axes.get(name, ("",))[0]) for name in PROMPT_FIELDS]
        is_all = self.wildcards and self.wildcards.mode == "all"
        if is_all and any(map(has_wildcards, texts)):
            return None
        count = int(str(axes.get("count", (1,))[0]))
        return len(self._replace(prompt)) * sweep.count_combinations(axes) * count

    @property
    def changes_prompts(self) -> bool:
        """Whether one prompt may become several, or another one."""
        return bool(self.replacements or self.wildcards)

    def expand_once(self, line: SweepAxes, defaults: SweepAxes) -> GenerationRequest | None:
        """Return the request of one prompt, if it is a single one whatever the prompt is."""
        axes = self._merge(line, defaults)
        if self.changes_prompts or any(len(values) != 1 for values in axes.values()):
            return None
        [request] = self.expand(line, defaults)
        return request

    def notes(self, line: SweepAxes, defaults: SweepAxes | None = None) -> Sequence[str]:
        """Return warnings about settings that only a part of a sweep uses."""
        return guidance_notes(self._merge(line, defaults))

    def _merge(self, line: SweepAxes, defaults: SweepAxes | None) -> dict[str, Sequence[object]]:
        return _merge_levels(line, self.flags, defaults or {}, self.settings)

    def _replace(self, prompt: str) -> Sequence[str]:
        prompts: Sequence[str] = (prompt,)
        for replacement in self.replacements:
            prompts = [new for old in prompts for new in replacement.apply(old)]
        return prompts

    def _fill_wildcards(self, request: GenerationRequest) -> Iterable[GenerationRequest]:
        if not self.wildcards:
            return (request,)
        requests = self.wildcards.expand(request)
        return islice(requests, 1) if self.sample else requests


def _merge_levels(*levels: SweepAxes) -> dict[str, Sequence[object]]:
    """Merge levels of settings, the first one that sets a field winning. Raises UsageError."""
    merged = {name: values for level in reversed(levels) for name, values in level.items()}
    if SIZE not in merged:
        return merged
    # A sweep of sizes and a width or height exclude each other: the level nearer to the prompt
    # wins, but half a size leaves the other half open.
    sides: set[str] = set()
    for level in levels:
        if SIZE in level:
            break
        sides |= {"width", "height"} & level.keys()
    if len(sides) == 1:
        [side] = sides
        raise UsageError(
            f"{side} can't be set alone while sizes are swept",
            code=f"usage.{side}",
            hint="set width and height, or size",
        )
    overridden = (SIZE,) if sides else ("width", "height")
    return {name: values for name, values in merged.items() if name not in overridden}


def _first_and_last(values: Sequence[object]) -> Sequence[object]:
    return (values[0], values[-1]) if len(values) > 2 else values


def _varied_fields(axes: SweepAxes) -> tuple[str, ...]:
    """The fields, the prompt apart, that differ between the images of one prompt."""
    varied = {name for name, values in axes.items() if len(values) > 1}
    if axes.get("count", (1,)) != (1,):
        varied.add("seed")
    return tuple(sorted(varied - {PROMPT}, key=lambda name: sweep.SWEPT.get(name, -1)))
