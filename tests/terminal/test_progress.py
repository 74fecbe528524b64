"""Progress: whole numbers that never go backwards, on a terminal and off it."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdcli.result import StepEvent
from sdcli.terminal.console import Console
from sdcli.terminal.progress import ProgressBar, RunProgress, format_duration
from sdcli.terminal.tqdm_progress import TqdmProgress


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def step(number: int, steps: int = 4, images: int = 1) -> StepEvent:
    return StepEvent(job_indices=tuple(range(images)), step=number, steps=steps, timestep=1.0)


def test_the_count_the_percent_and_the_time_left() -> None:
    clock = Clock()
    progress = RunProgress(2000, clock)
    assert progress.describe() == "0/2000 · 0 %"
    progress.skip(100)
    progress.on_step(step(1))
    clock.now += 52 * 4.0
    progress.advance(52)
    assert progress.describe() == "152/2000 · 7 % · 2:03:12 left"
    progress.advance(1848)
    assert progress.describe() == "2000/2000 · 100 %"


def test_an_unknown_number_of_images() -> None:
    progress = RunProgress(None)
    progress.advance(1)
    assert progress.describe() == "1 image"


def test_the_bar_of_python_counts_what_was_skipped() -> None:
    bar = TqdmProgress(10, delay=0)
    bar.skip(4)
    bar.on_step(step(2, images=2))
    assert (bar._bar.n, bar._bar.initial, bar._bar.total) == (5, 4, 10)
    assert bar._bar.desc == "4/10 images, step 2/4"
    bar.advance(2)
    assert (bar._bar.n, bar._bar.desc) == (6, "6/10 images")
    bar.close()
    late = TqdmProgress(None, delay=60)
    late.advance(1)
    assert late._bar is None


@given(st.lists(st.tuples(st.sampled_from(["step", "advance", "skip"]), st.integers(1, 4))))
def test_it_never_goes_backwards(events: list[tuple[str, int]]) -> None:
    progress = RunProgress(10)
    seen = []
    for kind, number in events:
        if kind == "step":
            progress.on_step(step(number))
        else:
            getattr(progress, kind)(number)
        seen.append((progress.completed, progress.percent, progress.done))
        assert re.match(r"\d+/10 · \d+ %( · [\d:]+ left)?$", progress.describe())
    assert seen == sorted(seen)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (114, "1:54"), (3599.6, "1:00:00"), (90061, "25:01:01")]
)
def test_durations(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def notes(jobs: int | None, seconds_per_image: float, images: int) -> list[str]:
    clock, lines = Clock(), []
    bar = ProgressBar(jobs, None, lines.append, clock)
    for _ in range(images):
        bar.on_step(step(4))
        clock.now += seconds_per_image
        bar.advance(1)
    return lines


def test_without_a_terminal_there_is_a_line_every_minute_or_tenth() -> None:
    assert notes(3, 5.0, 3) == []
    assert notes(100, 0.009, 100) == []
    fast = notes(60, 0.25, 60)
    assert [line.partition(" ")[0] for line in fast] == [f"{n}/60" for n in range(6, 60, 6)]
    minutes = notes(5, 70.0, 5)
    assert [line.partition(" ")[0] for line in minutes] == ["1/5", "2/5", "3/5", "4/5"]
    tenths = notes(100, 2.0, 100)
    assert [line.partition(" ")[0] for line in tenths] == [f"{n}/100" for n in range(10, 100, 10)]
    slow = notes(1000, 30.0, 20)
    assert [line.partition(" ")[0] for line in slow] == [f"{n}/1000" for n in range(2, 21, 2)]
    assert notes(None, 61.0, 2) == ["1 image", "2 images"]


def test_steps_are_counted_with_their_loss_and_the_time_left() -> None:
    clock, notes = Clock(), []
    bar = ProgressBar(100, None, notes.append, clock)
    bar.skip(40)
    clock.now += 500  # loading
    bar.begin()
    for _ in range(20):
        clock.now += 2
        bar.tell("loss 0.25")
        bar.advance(1)
    assert notes[-1] == "60/100 · 60 % · 1:20 left · loss 0.25"


def test_the_time_before_the_first_step_counts_for_nothing() -> None:
    clock, lines = Clock(), []
    bar = ProgressBar(2, None, lines.append, clock)
    clock.now += 600.0
    bar.on_step(step(4))
    bar.advance(1)
    assert lines == []


def test_the_lines_go_to_stderr_unless_only_errors_are_wanted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sdcli.terminal.progress._LINE_SECONDS", 0.0)
    for verbosity, expected in ((0, "sdcli: 1/2 · 50 %"), (-1, "")):
        stream = io.StringIO()
        with Console(stream=stream, verbosity=verbosity).progress(2) as bar:
            bar.advance(1)
        assert stream.getvalue().strip() == expected
