"""Read how long images took in a folder, from its journal."""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Final

from sdcli.job import TimingKey
from sdcli.pipeline_spec import model_name
from sdcli.result import GenerationResult
from sdcli.storage.jobs.journal import NAME

RECENT_IMAGES: Final = 200
"""The last images of each kind count: the folder may have moved to another machine."""


def known_timings(folder: Path) -> Mapping[TimingKey, float]:
    """The median seconds per image of each kind of job that was done in the folder."""
    times: dict[TimingKey, deque[float]] = defaultdict(lambda: deque(maxlen=RECENT_IMAGES))
    try:
        with (folder / NAME).open("rb") as journal:
            for line in journal:
                if timing := _parse_timing(line):
                    key, seconds = timing
                    times[key].append(seconds)
    except OSError:
        return {}
    return {key: median(seconds) for key, seconds in times.items()}


def seconds_per_image(result: GenerationResult) -> float:
    """The image's part of the time of its batch, without loading."""
    phases = ("encode", "denoise", "decode")
    seconds = sum(result.seconds.get(phase, 0.0) for phase in phases)
    return round(seconds / result.run.batch_size, 4)


def _parse_timing(line: bytes) -> tuple[TimingKey, float] | None:
    """The kind of job and the seconds of a line, None for any other line."""
    try:
        event = json.loads(line)
        model, *rest = event["kind"]
        # Journals of version 0.1.0 have the whole path of the model.
        key, seconds = (model_name(model), *rest), float(event["seconds"])
        hash(key)  # a list in a forged line has no hash
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return (key, seconds) if seconds > 0 else None
