"""Split lists that are written in one option."""

from __future__ import annotations

from sdcli.errors import UsageError


def split_names(text: str | None, option: str) -> tuple[str, ...]:
    """Split "a, b" to its names, none if left out. Raises UsageError for a list without names."""
    names = tuple(name.strip() for name in (text or "").split(",") if name.strip())
    if text is not None and not names:
        raise UsageError(f"{option}: no names given", code=f"usage.{option[2:]}")
    return names
