"""Remember the settings of entries, so that entries that share them are not parsed again."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple

from sdcli.errors import UsageError
from sdcli.prompts.columns import column_field
from sdcli.prompts.entry import PromptEntry
from sdcli.prompts.field_values import PROMPT, with_own_values
from sdcli.request import OWN_VALUES, GenerationRequest
from sdcli.row import Row

_MAX_KNOWN: Final = 1024
_SEED: Final = "seed"
# Longer seeds may be too large: the parser says so.
_SAFE_DIGITS: Final = 18


class _Shape(NamedTuple):
    """The fields of an entry: those of OWN_VALUES by the names in the file, and the others."""

    own: Mapping[str, str]
    shared: tuple[str, ...]


class KnownSettings:
    """The requests of entries of one source that make one request each, by their settings.

    Entries with the same settings differ in the OWN_VALUES and the row alone. Of at most 1024
    settings, requests are remembered.
    """

    def __init__(self) -> None:
        self._requests: dict[Hashable, GenerationRequest] = {}
        self._shapes: dict[tuple[str, ...], _Shape | None] = {}

    def __bool__(self) -> bool:
        return bool(self._requests)

    def clear(self) -> None:
        """Forget everything, because the defaults of the source have changed."""
        self._requests.clear()

    def add(self, entry: PromptEntry, request: GenerationRequest) -> None:
        """Remember the one request of an entry without errors."""
        if (known := self._split(entry)) is None:
            return
        if len(self._requests) >= _MAX_KNOWN:
            self._requests.clear()
        self._requests[known[0]] = request

    def find(self, entry: PromptEntry, row: Row) -> GenerationRequest | None:
        """Return the request of an entry in that row; None for unknown settings, or an error."""
        known = self._split(entry)
        request = self._requests.get(known[0]) if known else None
        if request is None or known is None:
            return None
        if varied := request.row.varied:
            row = replace(row, varied=varied)
        try:
            return with_own_values(request, {**known[1], "row": row})
        except UsageError:
            # The parser tells where it is, and finds all others.
            return None

    def _split(self, entry: PromptEntry) -> tuple[Hashable, dict[str, Any]] | None:
        """Return a key of the settings, and the OWN_VALUES; None if they must be parsed."""
        fields = entry.fields
        names = tuple(fields)
        if names not in self._shapes:
            if len(self._shapes) >= _MAX_KNOWN:
                self._shapes.clear()
            self._shapes[names] = _find_shape(names)
        shape = self._shapes[names]
        if shape is None or entry.faults or entry.notes:
            return None
        own: dict[str, Any] = {}
        for written, name in shape.own.items():
            value = fields[written]
            if name == _SEED:
                value = _plain_seed(value)
            elif not isinstance(value, str):
                return None
            if value is None:
                return None
            own[name] = value
        shared = [fields[name] for name in shape.shared]
        # 1, 1.0 and True are equal, but not the same setting.
        key = (names, tuple(shared), tuple(map(type, shared)), entry.is_text)
        try:
            hash(key)
        except TypeError:  # a list
            return None
        return key, own


def _plain_seed(value: object) -> int | None:
    """Return a seed that is a number and no sweep; None for any other."""
    if isinstance(value, str):
        is_number = value.isascii() and value.isdigit() and len(value) <= _SAFE_DIGITS
        return int(value) if is_number else None
    is_number = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return value if is_number else None  # type: ignore[return-value]


def _find_shape(names: tuple[str, ...]) -> _Shape | None:
    """Return the fields of entries with these names; None if not all are fields, with a prompt."""
    try:
        fields = {name: column_field(name) for name in names}
    except UsageError:
        return None
    own = {name: field for name, field in fields.items() if field in OWN_VALUES}
    if PROMPT not in own.values() or len({*fields.values()}) < len(fields):
        return None
    return _Shape(own, tuple(name for name in names if name not in own))
