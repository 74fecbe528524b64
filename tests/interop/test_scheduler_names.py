"""Test that the nearest scheduler is kept, and that what it lacks is named."""

from __future__ import annotations

import pytest

from sdcli.catalog.schedulers.resolve import resolve_scheduler
from sdcli.interop.export import to_request_fields
from sdcli.interop.foreign_record import ForeignRecord
from sdcli.interop.scheduler_names import nearest_scheduler


@pytest.mark.parametrize(
    ("sampler", "schedule", "label", "dropped"),
    [
        ("Euler a", "", "Euler a", None),
        ("Euler a", "Karras", "Euler a", "Karras"),
        ("Euler a Karras", "", "Euler a", "Karras"),
        ("euler_ancestral", "karras", "Euler a", "karras"),
        ("euler_ancestral", "beta57", "Euler a", "beta57"),
        ("DPM++ 2M", "Karras", "DPM++ 2M Karras", None),
        ("DPM++ 2M", "Align Your Steps", "DPM++ 2M", "Align Your Steps"),
        ("DPM++ 2M", "KL Optimal", "DPM++ 2M", "KL Optimal"),
        ("LCM", "Exponential", "LCM", "Exponential"),
        ("SA-Solver", "Karras", "SA-Solver", "Karras"),
        ("DDIM", "Karras", "DDIM", "Karras"),
        ("dpmpp_2m", "MySigmas", "DPM++ 2M", "MySigmas"),
        ("sample_euler", "", "Euler", None),
        ("sample_euler_ancestral", "", "Euler a", None),
        ("sample_euler_ancestral", "karras", "Euler a", "karras"),
        ("sample_heun", "", "Heun", None),
        ("sample_dpm_2", "", "DPM2", None),
        ("sample_dpm_2_ancestral", "", "DPM2 a", None),
        ("sample_lms", "", "LMS", None),
        ("sample_dpmpp_2m", "karras", "DPM++ 2M Karras", None),
        ("sample_dpmpp_sde", "", "DPM++ SDE", None),
        ("sample_ddim", "", "DDIM", None),
        ("sample_lcm", "", "LCM", None),
    ],
)
def test_the_nearest_scheduler(sampler: str, schedule: str, label: str, dropped: str | None):
    name, left = nearest_scheduler(sampler, schedule)
    assert name is not None
    assert (resolve_scheduler(name).label, left) == (label, dropped)


@pytest.mark.parametrize("sampler", ["SamplerMine", "sample_mine", "Restart", "", "\x1b[31m"])
def test_an_unknown_sampler_has_none(sampler: str) -> None:
    assert nearest_scheduler(sampler, "Karras") == (None, None)


def test_what_was_dropped_is_left_out_by_name() -> None:
    fields = {"prompt": "a", "scheduler": "Euler a", "schedule": "Karras"}
    taken, left = to_request_fields(ForeignRecord(generator="x", fields=fields))
    assert (taken["scheduler"], left) == ("Euler a", {"schedule": "Karras"})
    fields["scheduler"] = "Mine"
    taken, left = to_request_fields(ForeignRecord(generator="x", fields=fields))
    assert ("scheduler" in taken, left) == (False, {"scheduler": "Mine Karras"})
