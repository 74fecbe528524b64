"""How long images took, as the journal of a folder remembers it: what a plan can promise."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from statistics import median

from sdcli.job import TimingKey
from sdcli.storage.jobs.journal import NAME

LAST = 200
"""Images of a kind that are asked: machines change."""


def known_timings(folder: Path) -> Mapping[TimingKey, float]:
    """Seconds an image of each kind that was made in this folder, the median of the last ones."""
    times: dict[TimingKey, list[float]] = defaultdict(list)
    try:
        with (folder / NAME).open("rb") as journal:
            for line in journal:
                if (told := _told(line)) is not None:
                    times[told[0]] = [*times[told[0]][1 - LAST :], told[1]]
    except OSError:
        return {}
    return {kind: median(seconds) for kind, seconds in times.items()}


def _told(line: bytes) -> tuple[TimingKey, float] | None:
    """The kind and the seconds of a line, None for any other."""
    try:
        event = json.loads(line)
        kind, seconds = tuple(event["kind"]), float(event["seconds"])
        hash(kind)  # a list in it has none: it is not ours
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return (kind, seconds) if seconds > 0 else None
