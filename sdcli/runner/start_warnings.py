"""Warn in a dry run of what a run would warn of when it has loaded the model."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from sdcli.catalog.schedulers.resolve import ResolvedScheduler
from sdcli.catalog.schedulers.run_start import known_late_start
from sdcli.checkpoints.model_defaults import ModelDefaults
from sdcli.job import Job
from sdcli.pipeline_spec import PipelineSpec


class StartWarnings:
    """Warns once of each kind of run that begins too late, where that is known without torch.

    `find_defaults` reads the defaults of a model that is on this machine.
    """

    def __init__(
        self, warn: Callable[[str], None], find_defaults: Callable[[PipelineSpec], ModelDefaults]
    ) -> None:
        self._warn = warn
        self._find_defaults = find_defaults
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
        defaults = self._find_defaults(job.spec)
        scheduler = ResolvedScheduler(
            label=defaults.scheduler_class,
            choice=job.scheduler,
            sampler=None,
            model=defaults.scheduler_config,
        )
        return known_late_start(scheduler.class_name, scheduler.config, job.num_inference_steps)
