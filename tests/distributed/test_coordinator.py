"""The jobs that actors of Ray began, and may begin again."""

from __future__ import annotations

import pytest

from sdcli.distributed.coordinator import Coordinator


@pytest.mark.parametrize(
    ("before", "batch", "refused", "alone"),
    [
        ([], [0, 1], [], []),
        ([[0]], [0], [], []),
        ([[0, 1]], [0, 1], [], [0, 1]),
        ([[0, 1]], [1, 2], [], [1]),
        ([[0, 1], [0]], [0], [0], []),
        ([[0, 1], [0]], [0, 1], [0], [1]),
        # Those that were told to begin alone have not begun.
        ([[0, 1], [0, 1], [0, 1]], [0, 1], [], [0, 1]),
        ([[0, 1], [0, 1], [0], [1]], [0, 1], [0, 1], []),
        # Those that were refused do not count either, and stay refused.
        ([[0], [0], [0]], [0], [0], []),
    ],
)
def test_a_job_begins_twice_at_most_the_second_time_alone(
    before: list[list[int]], batch: list[int], refused: list[int], alone: list[int]
) -> None:
    coordinator = Coordinator()
    for indices in before:
        coordinator.begin(indices)
    assert coordinator.begin(batch) == (refused, alone)


def test_it_tells_all_to_stop() -> None:
    coordinator = Coordinator()
    assert not coordinator.is_stopping()
    coordinator.stop()
    assert coordinator.is_stopping()
