"""Find equal settings fast: a key that computes its hash once."""

from __future__ import annotations

from collections.abc import Callable, Hashable


class SettingsKey:
    """Values whose hash is computed once, for the settings that thousands of images share."""

    __slots__ = ("_hash", "_values")

    def __init__(self, values: Hashable) -> None:
        self._values = values
        self._hash = hash(values)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return (
            isinstance(other, SettingsKey)
            and self._hash == other._hash
            and self._values == other._values
        )

    def __reduce__(self) -> tuple[Callable[[Hashable], SettingsKey], tuple[Hashable]]:
        # Another process hashes text differently.
        return SettingsKey, (self._values,)
