"""Warn in a dry run of what a run would warn of when it has loaded the model."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import replace

from sdcli.catalog.schedulers.resolve import ResolvedScheduler
from sdcli.catalog.schedulers.run_start import known_late_start
from sdcli.job import Job
from sdcli.planning.validation import cached_defaults


class StartWarnings:
    """Warns once of each kind of run that begins too late, where that is known without torch."""

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._last: Hashable = None
        self._told: set[str] = set()

    def check(self, job: Job) -> None:
        """Warn if the job would begin below the noise that its latents are drawn with."""
        key = (job.spec, job.scheduler, job.num_inference_steps, job.begins_with_noise)
        if key != self._last:
            self._last = key
            warning = self._find(job) if job.begins_with_noise else None
            if warning and warning not in self._told:
                self._told.add(warning)
                self._warn(warning)

    def _find(self, job: Job) -> str | None:
        defaults = cached_defaults(replace(job.spec, offline=True))
        scheduler = ResolvedScheduler(
            label=defaults.scheduler_class,
            choice=job.scheduler,
            sampler=None,
            model=defaults.scheduler_config,
        )
        return known_late_start(scheduler.class_name, scheduler.config, job.num_inference_steps)
