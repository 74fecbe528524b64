"""Parse sweeps (lists and ranges of values), and combine them lazily."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Final

from sdcli.errors import UsageError, quoted
from sdcli.fields.embedding import EMBEDDING
from sdcli.fields.guidance import split_schedules
from sdcli.listed_files import SEPARATOR
from sdcli.prompts.embedding_sweep import embedding_values
from sdcli.prompts.fields import (
    SIZE,
    field_error,
    field_type,
    is_pair,
    parse_data,
    parse_text,
)
from sdcli.prompts.lora_sweep import LORA, combine_loras, lora_values
from sdcli.prompts.ranges import RANGE, range_values
from sdcli.request import REQUEST_FIELDS, SIZE_INFO

SweepAxes = Mapping[str, Sequence[object]]
"""Maps a field to its values: several are a sweep."""

SWEPT: Final = {
    name: info.sweep
    for name, info in {**REQUEST_FIELDS, SIZE: SIZE_INFO}.items()
    if info.sweep is not None
}
"""The axes of a sweep and their rank: what must be loaded changes least often."""

_OWN_LISTS: Final[Mapping[str, Callable[[str], Sequence[object]]]] = {
    LORA: lora_values,
    EMBEDDING: embedding_values,
    "guidance_schedule": split_schedules,
}
"""Fields whose single values may have commas or several files, and what parses their sweeps."""


def parse_values(name: str, text: str) -> Sequence[object]:
    """Parse a list, a range or one value of a field: "10,20", "1..4", "5..9:2".

    A range includes both ends, and counts down if its second end is smaller. Raises UsageError.
    """
    if name not in SWEPT:
        return (parse_text(name, text),)
    if name in _OWN_LISTS:
        return _OWN_LISTS[name](text)
    values: list[Sequence[object]] = []
    for word in text.split(","):
        if not word.strip():
            raise field_error(
                name, text, "has an empty item in its list" if "," in text else "is empty"
            )
        # In a field of text, 1..4 is the text itself.
        match = RANGE.fullmatch(word.strip()) if field_type(name) in ("int", "float") else None
        values.append(range_values(name, match) if match else (parse_text(name, word.strip()),))
    return values[0] if len(values) == 1 else [value for part in values for value in part]


def combine_repeated(name: str, texts: Sequence[str]) -> Sequence[object]:
    """Parse an option that is given several times for the same image.

    Each value of one combines with each of the others. Raises UsageError.
    """
    if name == LORA:
        return combine_loras(texts)
    axes = [parse_values(name, text) for text in texts]
    return [SEPARATOR.join(map(str, chosen)) for chosen in product(*axes)]


def values_from_data(name: str, value: object) -> Sequence[object]:
    """Return the values of a field from JSON, YAML or TOML, where a list is a sweep.

    A number in quotes is parsed as text, so "10,20" is a sweep, too.
    """
    if not isinstance(value, list) or name not in SWEPT or (name == SIZE and is_pair(value)):
        return _single_value(name, value)
    if not value:
        raise field_error(name, value, "is empty")
    return [one for item in value for one in _single_value(name, item)]


def _single_value(name: str, value: object) -> Sequence[object]:
    if isinstance(value, str) and (name == SIZE or name in _OWN_LISTS or field_type(name) != "str"):
        return parse_values(name, value)
    return (parse_data(name, value),)


def count_combinations(axes: SweepAxes) -> int:
    """The number of combinations."""
    return prod(len(values) for values in axes.values())


def combinations(axes: SweepAxes) -> Iterator[dict[str, object]]:
    """Every combination as a lazy product, the axis of the highest rank changing first."""
    if all(len(values) == 1 for values in axes.values()):
        return iter([{name: values[0] for name, values in axes.items()}])
    names = sorted(axes, key=lambda name: SWEPT.get(name, -1))
    return _combinations([(name, axes[name]) for name in names])


def _combinations(axes: Sequence[tuple[str, Sequence[object]]]) -> Iterator[dict[str, object]]:
    if not axes:
        yield {}
        return
    (name, values), *rest = axes
    for value in values:
        for others in _combinations(rest):
            yield {name: value, **others}


@dataclass(frozen=True)
class PromptReplacement:
    """Search and replace in prompts, which makes one prompt for each replacement."""

    old: str
    new: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> PromptReplacement:
        """From "cat=dog,fox". Raises UsageError."""
        old, equals, new = text.partition("=")
        words = tuple(word.strip() for word in new.split(","))
        if not old.strip() or not equals or not all(words):
            raise UsageError(
                f"--replace: {quoted(text)} is not OLD=NEW,NEW",
                code="usage.replace",
                hint="e.g. --replace cat=dog,fox; cat=cat,dog also keeps the original",
            )
        return cls(old.strip(), words)

    def apply(self, prompt: str) -> Sequence[str]:
        """The prompts made from this one; without the word it stays the same."""
        if self.old not in prompt:
            return (prompt,)
        return [prompt.replace(self.old, word) for word in self.new]

    def unused_error(self) -> UsageError:
        """The error when no prompt contains the word."""
        return UsageError(f"--replace: no prompt contains {quoted(self.old)}", code="usage.replace")
