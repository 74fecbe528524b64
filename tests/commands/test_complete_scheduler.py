"""Shell completion of scheduler names."""

from __future__ import annotations

from sdcli.catalog.schedulers.resolve import resolve_scheduler
from sdcli.commands.options.completion import complete_scheduler


def test_completion_offers_words_that_need_no_quotes() -> None:
    assert {"euler", "euler_a", "euler_ancestral"} <= set(complete_scheduler("eul"))
    assert "EulerDiscreteScheduler" in complete_scheduler("Eul")
    offered = complete_scheduler("")
    assert all(" " not in name for name in offered)
    for name in offered:
        resolve_scheduler(name)
