"""Complete the values of options in a shell."""

from __future__ import annotations

from sdcli.catalog.schedulers.sampler_table import SAMPLERS


def complete_scheduler(incomplete: str) -> list[str]:
    """Scheduler names that begin with `incomplete`, of those without spaces."""
    names = {n for row in SAMPLERS for n in (row.name, *row.aliases, row.class_name)}
    names |= {row.name.lower().replace(" ", "_") for row in SAMPLERS}
    return sorted(name for name in names if " " not in name and name.startswith(incomplete))
