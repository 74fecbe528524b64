"""From what was said, in files and on the command line, to requests.

A setting is looked for in this order, and the first place that says it wins:

1. the line (row, object, table) of the prompt itself
2. the command line
3. the defaults at the top of the prompt file
4. the model

So flags win over every default, and a line's own word wins over a flag, as in A1111 and kohya.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from sdcli import sweep
from sdcli.errors import UsageError, UsageErrors
from sdcli.prompts.entry import Entry, fault
from sdcli.prompts.fields import SIZE, canonical
from sdcli.prompts.wildcards import Wildcards, has_wildcards
from sdcli.request import GenerationRequest
from sdcli.sweep import Axes, Replacement


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the command line says of every request. Raises UsageError for values that cannot be.

    A `sample` has, of many seeds and wildcards, only as many as it takes to check the rest.
    """

    flags: Axes = field(default_factory=dict)
    replacements: Sequence[Replacement] = ()
    wildcards: Wildcards | None = None
    sample: bool = False

    def __post_init__(self) -> None:
        for error in wrong_values(self.flags):
            raise error

    def requests(self, line: Axes, defaults: Axes | None = None) -> Iterator[GenerationRequest]:
        """All that one prompt asks for: prompts replaced, times the sweep, times wildcards."""
        axes = self._axes(line, defaults)
        if self.sample:
            axes["seed"] = _ends(axes.get("seed", (None,)))
        rest = {name: values for name, values in axes.items() if name != "prompt"}
        for prompt in self._prompts(str(axes["prompt"][0])):
            for values in sweep.product(rest):
                yield from self._filled(_request({**values, "prompt": prompt}))

    def images(self, line: Axes, defaults: Axes | None = None) -> int | None:
        """How many images that is, None when wildcards decide it."""
        axes = self._axes(line, defaults)
        prompt = str(axes["prompt"][0])
        if self.wildcards and self.wildcards.mode == "all" and has_wildcards(prompt):
            return None
        return len(self._prompts(prompt)) * sweep.size(axes) * int(str(axes.get("count", (1,))[0]))

    def _axes(self, line: Axes, defaults: Axes | None) -> dict[str, Sequence[object]]:
        return _merged(line, self.flags, defaults or {})

    def _prompts(self, prompt: str) -> Sequence[str]:
        prompts: Sequence[str] = (prompt,)
        for replacement in self.replacements:
            prompts = [made for one in prompts for made in replacement.prompts(one)]
        return prompts

    def _filled(self, request: GenerationRequest) -> Iterable[GenerationRequest]:
        if not self.wildcards:
            return (request,)
        filled = self.wildcards.requests(request)
        return islice(filled, 1) if self.sample else filled


class Expander:
    """The entries of one source to requests. Entries without a prompt, before the first with one,
    are the source's defaults.

    Tells afterwards what the command line said in vain: `unused_flags`, `unused_replacements`.
    """

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._defaults: Axes = {}
        self._begun = False
        self.images: int | None = 0
        self.unused_flags = set(asked.flags)
        self.unused_replacements = list(asked.replacements)

    def requests(self, entry: Entry) -> Iterator[GenerationRequest]:
        """The requests of an entry. Raises UsageErrors with all that is wrong, and where."""
        line = _axes(entry)
        if "prompt" not in line:
            self._set_defaults(entry, line)
            return
        self._begun = True
        try:
            if any(len(values) > 1 for values in line.values()):
                _raise(entry, wrong_values(line))
            self._note(line)
            yield from self._asked.requests(line, self._defaults)
        except UsageErrors:
            raise
        except UsageError as error:
            _raise(entry, wrong_values(line) or [error])

    def _note(self, line: Axes) -> None:
        self.unused_flags &= line.keys()
        prompt = str(line["prompt"][0])
        self.unused_replacements = [r for r in self.unused_replacements if r.old not in prompt]
        images = self._asked.images(line, self._defaults)
        self.images = None if images is None or self.images is None else self.images + images

    def _set_defaults(self, entry: Entry, line: Axes) -> None:
        if self._begun:
            raise fault(
                entry.place, "no prompt", hint="defaults stand at the top, before the first prompt"
            )
        _raise(entry, wrong_values(line))
        self._defaults = {**self._defaults, **line}


def placed(entry: Entry, error: UsageError) -> UsageError:
    """The error with the place of the field that it is about."""
    about = error.code.removeprefix("usage.").partition(".")[0]
    fields = {about, SIZE} if about in ("width", "height") else {about}
    for name in entry.fields:
        if _field(name) in fields:
            return fault(entry.place_of(name), error.message, code=error.code, hint=error.hint)
    return fault(entry.place, error.message, code=error.code, hint=error.hint)


def wrong_values(axes: Axes) -> list[UsageError]:
    """What is wrong with each field alone."""
    errors = []
    for name, values in axes.items():
        for value in _some(values):
            try:
                _request({"prompt": "", name: value})
            except UsageError as error:
                errors.append(error)
                break
    return errors


def _request(values: Mapping[str, object]) -> GenerationRequest:
    if SIZE not in values:
        return GenerationRequest.from_dict(values)
    size = values[SIZE]
    assert isinstance(size, tuple)
    width, height = size
    rest = {name: value for name, value in values.items() if name != SIZE}
    return GenerationRequest.from_dict({**rest, "width": width, "height": height})


def _axes(entry: Entry) -> dict[str, Sequence[object]]:
    """The fields that an entry sets, by their right names. Raises UsageErrors for all bad ones."""
    axes: dict[str, Sequence[object]] = {}
    errors = []
    for written, value in entry.fields.items():
        place = entry.place_of
        try:
            name = canonical(written)
            if name in axes:
                raise UsageError(f"{name} is there twice, by two names", code="usage.field")
            if value is None:
                continue
            is_word = entry.is_text and isinstance(value, str)
            axes[name] = (
                sweep.from_words(name, str(value)) if is_word else sweep.from_value(name, value)
            )
        except UsageError as error:
            errors.append(fault(place(written), error.message, code=error.code, hint=error.hint))
    if errors:
        raise UsageErrors([*errors, *(placed(entry, error) for error in wrong_values(axes))])
    try:
        return _without_plain_size(axes)
    except UsageError as error:
        raise UsageErrors([placed(entry, error)]) from error


def _without_plain_size(axes: Axes) -> dict[str, Sequence[object]]:
    """One size as its width and height, so that each can be overruled alone."""
    if SIZE not in axes:
        return dict(axes)
    if "width" in axes or "height" in axes:
        raise UsageError("size beside width or height", code=f"usage.{SIZE}")
    if len(axes[SIZE]) > 1:
        return dict(axes)
    [size] = axes[SIZE]
    assert isinstance(size, tuple)
    width, height = size
    rest = {name: values for name, values in axes.items() if name != SIZE}
    return {**rest, "width": (width,), "height": (height,)}


def flags_of(said: Mapping[str, object]) -> dict[str, Sequence[object]]:
    """The settings of the command line: its words, True for a switch, None for what is unsaid."""
    axes: dict[str, Sequence[object]] = {}
    for name, value in said.items():
        if value is None or value is False:
            continue
        field_name = canonical(name)
        is_word = isinstance(value, str)
        axes[field_name] = sweep.from_words(field_name, str(value)) if is_word else (value,)
    return _without_plain_size(axes)


def _merged(line: Axes, flags: Axes, defaults: Axes) -> dict[str, Sequence[object]]:
    merged = {**defaults, **flags, **line}
    if SIZE not in merged:
        return merged
    sides: set[str] = set()
    for level in (line, flags, defaults):
        if SIZE in level:
            break
        sides |= {"width", "height"} & level.keys()
    if len(sides) == 1:
        [side] = sides
        raise UsageError(f"a {side} of its own beside a sweep of sizes", code=f"usage.{side}")
    overruled = (SIZE,) if sides else ("width", "height")
    return {name: values for name, values in merged.items() if name not in overruled}


def _raise(entry: Entry, errors: Sequence[UsageError]) -> None:
    if errors:
        raise UsageErrors([placed(entry, error) for error in errors])


def _field(written: str) -> str | None:
    try:
        return canonical(written)
    except UsageError:
        return None


def _some(values: Sequence[object]) -> Sequence[object]:
    """All of a few values, the ends of many numbers."""
    return (values[0], values[-1]) if isinstance(values, range) else values


def _ends(values: Sequence[object]) -> Sequence[object]:
    return (values[0], values[-1]) if len(values) > 2 else values
