"""Find the scheduler of a request: the one it names, the model's default, or that of its files."""

from __future__ import annotations

from sdcli.catalog.schedulers.resolve import ResolvedScheduler, model_scheduler, resolve_scheduler
from sdcli.checkpoints.component_configs import DEFAULTS_FILE
from sdcli.checkpoints.model_defaults import ModelDefaults
from sdcli.errors import UsageError
from sdcli.request import GenerationRequest


def find_scheduler(request: GenerationRequest, defaults: ModelDefaults) -> ResolvedScheduler:
    """Resolve the scheduler of a request. Raises UsageError, which names the file at fault."""
    config = defaults.scheduler_config
    if request.scheduler:
        return resolve_scheduler(request.scheduler, config)
    if not defaults.scheduler:
        return model_scheduler(defaults.scheduler_class, config)
    try:
        return resolve_scheduler(defaults.scheduler, config)
    except UsageError as error:
        raise UsageError(
            f"the model's {DEFAULTS_FILE}: {error}",
            code=error.code,
            hint=f"choose a scheduler with -s; {error.hint or 'sdcli schedulers list'}",
        ) from error
