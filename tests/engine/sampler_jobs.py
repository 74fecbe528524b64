"""Jobs for each row of the sampler table."""

from __future__ import annotations

from typing import Any

from sdcli.catalog.schedulers.resolve import resolve_scheduler
from sdcli.catalog.schedulers.sampler_types import Sampler
from sdcli.job import Job
from tests.jobs import make_job

STEPS = 5  # enough for the history of a third-order multistep solver to matter


def make_sampler_job(row: Sampler, **changes: Any) -> Job:
    """A job of the row, with the schedule that A1111 chooses for it, and with eta if possible."""
    schedule = row.automatic
    name = f"{row.name} {schedule}" if schedule != "Normal" else row.name
    selection = resolve_scheduler(name)
    fields = {
        "scheduler": selection.choice,
        "scheduler_label": selection.label,
        "eta": 1.0 if row.takes_eta else 0.0,
        "num_inference_steps": STEPS,
    }
    return make_job(**{**fields, **changes})
