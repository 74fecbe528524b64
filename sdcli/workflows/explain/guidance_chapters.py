"""Tell what guidance adds at each step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sdcli.story import Chapter, Plot, Sentence, say

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sdcli.workflows.explain.runs import ExplainedRun

_AGREEING = 0.9
_CHANGE = 0.1


def tell_guidance(run: ExplainedRun) -> Chapter:
    """How much guidance does at each step."""
    title, steps = "Guidance", run.trace.steps
    guided = [step for step in steps if step["guidance_share"] is not None]
    if not guided:
        return Chapter(title=title, paragraphs=[[_unguided(run.result.job.guidance_scale)]])
    told = _one_guided(guided[0]) if len(guided) == 1 else _several_guided(guided, len(steps))
    lines = {
        "guidance's part": [(s["step"], s["guidance_share"]) for s in guided],
        "cosine of the two": [(s["step"], s["guidance_cosine"]) for s in guided],
    }
    plots = [Plot(title="Guidance at each step", x_label="step", lines=lines)]
    return Chapter(
        title=title, paragraphs=[[_guided_steps(guided, len(steps)), *told]], plots=plots
    )


def _one_guided(step: Mapping[str, Any]) -> list[Sentence]:
    return [
        say(
            "The difference is multiplied by {scale:g}. What this adds is {first_share:percent} of "
            "the output. The cosine between the two predictions is {first_agreement:.2f}.",
            scale=step["guidance_scale"],
            first_share=step["guidance_share"],
            first_agreement=step["guidance_cosine"],
        )
    ]


def _several_guided(guided: Sequence[Mapping[str, Any]], steps: int) -> list[Sentence]:
    first, last = guided[0], guided[-1]
    lowest = min(guided, key=lambda step: float(step["guidance_share"]))
    begins, ends = first["guidance_cosine"], last["guidance_cosine"]
    return [
        say(
            "The difference is multiplied by {scale:g}. What this adds is {first_share:percent} of "
            "the output of step {first_guided} and {last_share:percent} of that of step "
            "{last_guided}.",
            scale=first["guidance_scale"],
            first_guided=first["step"],
            last_guided=last["step"],
            first_share=first["guidance_share"],
            last_share=last["guidance_share"],
        ),
        # At an end of the run, its share has just been said.
        *(
            [
                say(
                    "It is least at step {lowest_step}, {lowest_share:percent}.",
                    lowest_step=lowest["step"],
                    lowest_share=lowest["guidance_share"],
                )
            ]
            if lowest not in (first, last)
            else ()
        ),
        say(
            "The cosine between the two predictions goes from {first_agreement:.2f} to "
            "{last_agreement:.2f}.",
            first_agreement=begins,
            last_agreement=ends,
        ),
        # It tells of both ends of the run.
        *(_agreement(begins, ends) if len(guided) == steps else ()),
    ]


def _unguided(scale: float) -> Sentence:
    if scale > 1:
        return say(
            "No step of this run has an unconditional output: each predicts once, with the prompt. "
            "The model itself takes the guidance scale, {scale:g}, as an input.",
            scale=scale,
        )
    return say(
        "Guidance is off in this run: each step predicts once, with the prompt. A guidance scale "
        "of more than {least} turns it on.",
        least=1,
    )


def _guided_steps(guided: Sequence[Mapping[str, Any]], steps: int) -> Sentence:
    """Which steps predict twice."""
    if len(guided) == steps:
        return say(
            "Each step predicts twice, with your words and without them."
            if steps > 1
            else "The step predicts twice, with your words and without them."
        )
    if len(guided) == 1:
        return say(
            "Step {first_guided} predicts twice, with your words and without them, the others "
            "once.",
            first_guided=guided[0]["step"],
        )
    return say(
        "Steps {first_guided} to {last_guided} predict twice, with your words and without them, "
        "the others once.",
        first_guided=guided[0]["step"],
        last_guided=guided[-1]["step"],
    )


def _agreement(first: float, last: float) -> list[Sentence]:
    # Some runs begin with words that change little, and the sentence would be wrong.
    if last - first < _CHANGE:
        return []
    return [
        say(
            "At first your words change everything. At the end the image itself says what it is, "
            "and both predictions nearly agree."
            if last > _AGREEING
            else "The words change less and less: the image itself says what it is."
        )
    ]
