"""Warn in a dry run of what a run would warn of when it has loaded the model."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Final

from sdcli.catalog.schedulers.resolve import ResolvedScheduler
from sdcli.catalog.schedulers.run_start import known_late_start
from sdcli.job import Job
from sdcli.planning.validation import cached_defaults

_MOST_CHECKED: Final = 4_096
"""Kinds of run to remember: a file may have many thousands."""


class StartWarnings:
    """Warns once of each kind of run that begins too late, where that is known without torch."""

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._checked: set[Hashable] = set()
        self._told: set[str] = set()

    def check(self, job: Job) -> None:
        """Warn if the job would begin below the noise that its latents are drawn with."""
        key = (job.spec, job.scheduler, job.num_inference_steps, job.begins_with_noise)
        if key not in self._checked:
            if len(self._checked) >= _MOST_CHECKED:
                self._checked.clear()
            self._checked.add(key)
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
