"""Find samplers by words."""

from __future__ import annotations

from collections.abc import Sequence

from sdcli.catalog.schedulers.sampler_table import SAMPLERS
from sdcli.catalog.schedulers.sampler_types import Sampler
from sdcli.errors import UsageError


def find_samplers(words: Sequence[str]) -> list[Sampler]:
    """Return the samplers that match all of the words. Raises UsageError if there are none."""
    rows = [row for row in SAMPLERS if _matches(row, words)]
    if not rows:
        raise UsageError(
            f"no scheduler matches all of: {' '.join(words)}",
            code="scheduler.unknown",
            hint="sdcli schedulers list",
        )
    return rows


def sampler_notes(row: Sampler) -> str:
    """Return the facts that apply to few samplers only, in one line."""
    needs = f"needs {row.package}" if row.package else ""
    most = f"at most {row.max_steps} steps" if row.max_steps < Sampler.max_steps else ""
    least = f"at least {row.min_steps} steps" if row.min_steps > 1 else ""
    return "; ".join(filter(None, (needs, least, most, row.note)))


def _matches(row: Sampler, words: Sequence[str]) -> bool:
    kind = "stochastic random" if row.stochastic else "deterministic"
    own = (row.name, row.class_name, *row.aliases, *row.schedules, kind, sampler_notes(row))
    text = " ".join(own).lower()
    return all(word.lower() in text for word in words)
