"""Remember how long images took on this machine, in a small file of the user's cache folder."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from sdcli.errors import OutputError
from sdcli.inputs.paths import cache_folder
from sdcli.job import Job, TimingKey
from sdcli.storage import files

FILE: Final = "timings.json"
SCHEMA: Final = "sdcli/timings/1"
_MAX_TIMINGS: Final = 500
"""The kinds of jobs that are remembered, those of the latest runs."""

_MAX_BYTES: Final = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Timing:
    """The median seconds per image of one kind of job in a run on `device`.

    `model` identifies the model by its files. `unet_calls` is the number of steps, twice that with
    guidance.
    """

    host: str
    model: str
    width: int
    height: int
    devices: tuple[str, ...]
    scheduler: str
    unet_calls: int
    seconds: float

    def fits(self, job: Job) -> bool:
        """Whether the timing is that of the job's model, size and device on this machine."""
        return (
            # Machines of different speed may share a home folder.
            (self.host, self.model) == (platform.node(), _model_of(job))
            and (self.width, self.height) == job.final_size
            and job.spec.device in self.devices
        )


class RunTimings:
    """The seconds of the images of a run, to be remembered at its end."""

    def __init__(self) -> None:
        self._jobs: dict[TimingKey, tuple[Job, str]] = {}
        self._seconds: dict[TimingKey, list[float]] = {}

    def add(self, job: Job, device: str, seconds: float) -> None:
        """Add an image that was made on a device."""
        key = (*job.timing_key, _model_of(job), job.spec.device, device)
        self._jobs.setdefault(key, (job, device))
        self._seconds.setdefault(key, []).append(seconds)

    def save(self) -> None:
        """Write the timings to the user's file; a file that cannot be written is left alone."""
        new = [
            _make_timing(job, device, median(self._seconds[key]))
            for key, (job, device) in self._jobs.items()
        ]
        if not new:
            return
        kinds = {_kind(timing) for timing in new}
        # The latest run knows best: versions and drivers change.
        old = [timing for timing in read_timings() if _kind(timing) not in kinds]
        document = {"schema": SCHEMA, "timings": [*map(vars, [*old, *new][-_MAX_TIMINGS:])]}
        path = cache_folder() / FILE
        with suppress(OSError, OutputError):
            path.parent.mkdir(parents=True, exist_ok=True)
            files.write_atomic(path, json.dumps(document).encode(), force=True)


class UserTimings:
    """The timings of the user's file, by which jobs are estimated."""

    def __init__(self) -> None:
        self._timings: list[Timing] | None = None
        self._known: dict[TimingKey, float | None] = {}

    def seconds(self, job: Job) -> float | None:
        """The expected seconds of a job, None if nothing like it was made on this machine.

        Jobs of the same model, size and device take as long as their UNet calls.
        """
        key = (*job.timing_key, _model_of(job), job.spec.device)
        if key not in self._known:
            self._known[key] = self._estimate(job)
        return self._known[key]

    def _estimate(self, job: Job) -> float | None:
        if self._timings is None:
            self._timings = list(read_timings())
        fitting = [timing for timing in self._timings if timing.fits(job)]
        kind = (job.scheduler_label, _unet_calls(job))
        exact = [t for t in fitting if (t.scheduler, t.unet_calls) == kind]
        if exact:
            return exact[-1].seconds
        if not fitting:
            return None
        return median(t.seconds / t.unet_calls for t in fitting) * _unet_calls(job)


def read_timings() -> Iterator[Timing]:
    """Yield the timings of the user's file, whatever is in it."""
    try:
        path = cache_folder() / FILE
        if not path.is_file() or path.stat().st_size > _MAX_BYTES:
            return
        found: Iterable[Any] = json.loads(path.read_bytes())["timings"]
        yield from (timing for item in found if (timing := _parse(item)))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return


def _parse(item: Mapping[str, Any]) -> Timing | None:
    try:
        timing = Timing(
            host=str(item["host"]),
            model=str(item["model"]),
            width=int(item["width"]),
            height=int(item["height"]),
            devices=tuple(map(str, item["devices"])),
            scheduler=str(item["scheduler"]),
            unet_calls=int(item["unet_calls"]),
            seconds=float(item["seconds"]),
        )
    except (ValueError, KeyError, TypeError, OverflowError):
        return None
    return timing if 0 < timing.seconds < float("inf") and timing.unet_calls > 0 else None


def _make_timing(job: Job, device: str, seconds: float) -> Timing:
    width, height = job.final_size
    return Timing(
        host=platform.node(),
        model=_model_of(job),
        width=width,
        height=height,
        # A later job may name the device, or leave the choice open again.
        devices=tuple(dict.fromkeys((device, job.spec.device))),
        scheduler=job.scheduler_label,
        unet_calls=_unet_calls(job),
        seconds=round(seconds, 4),
    )


def _kind(timing: Timing) -> tuple[object, ...]:
    return tuple(value for name, value in vars(timing).items() if name != "seconds")


def _model_of(job: Job) -> str:
    return job.fingerprint or os.path.abspath(job.spec.model)


def _unet_calls(job: Job) -> int:
    """The calls at the final size; those of a smaller first pass count by their pixels."""
    calls: float = job.denoising_steps
    if second := job.second_pass():
        share = job.width * job.height / (second.width * second.height)
        calls = second.denoising_steps + calls * share
    return max(1, round(calls * (2 if job.guidance_scale > 1 else 1)))
