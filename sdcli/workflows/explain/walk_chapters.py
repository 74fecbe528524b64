"""Tell of the way from noise to image: the walk, when things appear, and guidance."""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING

from sdcli.latents import X0
from sdcli.numerics.metrics import cosine
from sdcli.numerics.prediction import (
    distance,
    first_lasting,
    place_of,
    similarity,
    step_lengths,
)
from sdcli.story import Chapter, Picture, Plot, Sentence, Table, say
from sdcli.workflows.explain.pictures import thing_maps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sdcli.storage.trace_reader import Trace
    from sdcli.workflows.explain.runs import ExplainedRun

_SIMILAR = 0.9
_STRAIGHT = 1.02


def tell_walk(run: ExplainedRun) -> Chapter:
    """How the steps lead from the noise to the image."""
    trace = run.trace
    points, end = trace.points(), trace.final
    steps = step_lengths(points)
    straight = distance(points[0], end)
    remaining = [distance(point, end) for point in points[:-1]]
    # The direction of the first step, whatever its length: guidance makes x_0 too long.
    turn = cosine(trace.array(X0, 1) - points[0], end - points[0])
    first = [
        _level_sentence(trace),
        say(
            "The distance to the finished image falls from {start_distance:.1f} to "
            "{last_distance:.1f} before the last step.",
            start_distance=remaining[0],
            last_distance=remaining[-1],
        ),
    ]
    second = [_straight_sentence(sum(steps), straight, turn), *_step_sentences(steps)]
    if len(steps) == 1:
        first, second = [_one_step_sentence(trace, straight)], []
    distances = list(enumerate(remaining, 1))
    levels = [(s["step"], float(s["sigma"])) for s in trace.steps if s["sigma"] is not None]
    label = "step"
    return Chapter(
        title="The walk",
        paragraphs=[first, second] if second else [first],
        pictures=_walk_pictures(run),
        plots=[
            Plot(
                title="Noise level (sigma) at each step, logarithmic",
                x_label=label,
                lines={"sigma": levels},
                log=True,
            ),
            Plot(
                title="Distance to the finished image before each step",
                x_label=label,
                lines={"distance": distances},
            ),
        ],
    )


def _one_step_sentence(trace: Trace, straight: float) -> Sentence:
    return say(
        "The image is made in {steps:step|steps}: a straight line of {start_distance:.1f} from the "
        "noise to the prediction.",
        steps=len(trace.steps),
        start_distance=straight,
    )


def _level_sentence(trace: Trace) -> Sentence:
    first, last = trace.steps[0]["sigma"], trace.steps[-1]["sigma"]
    if first is None:
        return say(
            "The image is made in {steps:step|steps}, from noise alone to a noise level (sigma) of "
            "{last_sigma:.2g}.",
            steps=len(trace.steps),
            last_sigma=last,
        )
    return say(
        "The image is made in {steps:step|steps}. The noise level (sigma), the noise as a multiple "
        "of the image, falls from {first_sigma:.3g} to {last_sigma:.2g}.",
        steps=len(trace.steps),
        first_sigma=first,
        last_sigma=last,
    )


def _straight_sentence(path: float, straight: float, turn: float) -> Sentence:
    bend = path / straight
    facts = {"path": path, "bend": bend, "turn": math.degrees(math.acos(turn))}
    # Rounded to two digits, less than this would be written as a straight line.
    if bend < _STRAIGHT:
        return Sentence(
            "The walk is {path:.1f} long, {bend:.2f} times the straight line, so it is nearly "
            "straight. Its first direction is {turn:.0f} degrees off.",
            facts,
        )
    return Sentence(
        "It is often said that the walk goes straight to an image. It does not: the first "
        "direction is {turn:.0f} degrees off, and the walk is {path:.1f} long, {bend:.2f} times "
        "the straight line.",
        facts,
    )


def _step_sentences(steps: Sequence[float]) -> list[Sentence]:
    # A median of two says nothing.
    if len(steps) < 3:
        return []
    longest = max(range(len(steps)), key=steps.__getitem__)
    return [
        say(
            "The steps are not all of one size: the median is {median_step:.1f}, and step "
            "{longest_number} is the longest, {longest_step:.1f}.",
            median_step=median(steps),
            longest_number=longest + 1,
            longest_step=steps[longest],
        )
    ]


def _walk_pictures(run: ExplainedRun, count: int = 5) -> list[Picture]:
    steps = len(run.trace.steps)
    shown = sorted({round(1 + i * (steps - 1) / (count - 1)) for i in range(count)})
    return [
        Picture(f"prediction of step {step}", run.render(run.trace.array(X0, step)))
        for step in shown
    ]


def tell_arrival(run: ExplainedRun) -> Chapter:
    """At which step each thing is in its place."""
    trace, end = run.trace, run.trace.final
    predictions = [trace.array(X0, step) for step in range(1, len(trace.steps) + 1)]
    whole = [similarity(x0, end) for x0 in predictions]
    lines = {"whole image": whole}
    for shown in thing_maps(trace):
        place = place_of(shown.map, *end.shape[1:])
        # A word may occur twice, in two places.
        same = sum(name.split(" (")[0] == shown.word.text for name in lines)
        name = f"{shown.word.text} ({same + 1})" if same else shown.word.text
        lines[name] = [similarity(x0, end, place) for x0 in predictions]
    # A thing that arrives may leave again: only the step from which it stays counts.
    arrivals = {name: first_lasting(values, _SIMILAR) for name, values in lines.items()}
    first = [
        say(
            "A part of the image has arrived when its similarity to the finished image is "
            "{threshold} or more, and stays so.",
            threshold=_SIMILAR,
        ),
        _arrival_sentence(arrivals["whole image"], len(predictions)),
    ]
    rows = [[name, lines[name][0], step] for name, step in arrivals.items()]
    rows = [[name, f"{start:.2f}", step] for name, start, step in rows]
    return Chapter(
        title="When things appear",
        paragraphs=[first],
        table=Table(header=["part", "similarity at step 1", "arrives at step"], rows=rows),
        plots=[
            Plot(
                title="Similarity of each prediction to the finished image",
                x_label="step",
                lines={name: list(enumerate(line, 1)) for name, line in lines.items()},
            )
        ],
    )


def _arrival_sentence(step: int | None, steps: int) -> Sentence:
    if step is None:
        return say("The whole image has not arrived before the last step, {steps}.", steps=steps)
    if step <= steps / 2:
        return say(
            "It is often said that the first steps only choose the colours, and later ones the "
            "shapes. Here the whole image has arrived at step {arrival} of {steps}, shapes "
            "included. The steps after it sharpen the image.",
            arrival=step,
            steps=steps,
        )
    return say(
        "The whole image has arrived at step {arrival} of {steps}.", arrival=step, steps=steps
    )
