"""Read the prompts of jobs as texts that change during a run, and are combined by AND."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sdcli.fields.prompt import A1111
from sdcli.job import Job
from sdcli.prompts.syntax.combination import read_components
from sdcli.prompts.syntax.schedule import Phase, read_phases

_OTHER_PROMPTS = ("negative_prompt", "prompt_2", "negative_prompt_2")


@dataclass(frozen=True)
class JobPhase:
    """The prompts of a job from a step on, counted from 1.

    Each job of `components` has one of the prompts that AND combines, usually the only one, without
    any of A1111's syntax but weights and BREAK. `weights` are those of their guidance.
    """

    first_step: int
    components: tuple[Job, ...]
    weights: tuple[float, ...]


def read_job(job: Job) -> tuple[JobPhase, ...]:
    """Return the phases of a job in their order; only one if its prompts don't change."""
    # Nothing in compel's language changes during a run, or is combined by guidance.
    if job.read_as != A1111:
        return (JobPhase(1, (job,), (1.0,)),)
    steps = max(1, job.denoising_steps)
    components = read_components(job.prompt)
    prompts = [read_phases(component.text, steps) for component in components]
    others = {
        name: read_phases(text, steps) for name in _OTHER_PROMPTS if (text := getattr(job, name))
    }
    starts = {phase.first_step for phases in (*prompts, *others.values()) for phase in phases}
    weights = tuple(component.weight for component in components)
    return tuple(
        JobPhase(start, tuple(_job_in(job, p, others, start) for p in prompts), weights)
        for start in sorted(starts)
    )


def _job_in(
    job: Job, prompt: Sequence[Phase], others: Mapping[str, Sequence[Phase]], step: int
) -> Job:
    """Return the job with the texts that its prompts have in a step."""
    texts = {name: _text_in(phases, step) for name, phases in others.items()}
    return replace(
        job,
        prompt=_text_in(prompt, step),
        negative_prompt=texts.get("negative_prompt", job.negative_prompt),
        prompt_2=texts.get("prompt_2"),
        negative_prompt_2=texts.get("negative_prompt_2"),
    )


def _text_in(phases: Sequence[Phase], step: int) -> str:
    [text] = [phase.text.text for phase in phases if phase.first_step <= step <= phase.last_step]
    # An empty text would stand for another one: that of the first text encoder, or none at all.
    return text or " "


def phase_at(phases: Sequence[JobPhase], step: int) -> JobPhase:
    """Return the phase that a step is in."""
    return [phase for phase in phases if phase.first_step <= step][-1]
