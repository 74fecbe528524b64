"""Compare schedulers by how fast they converge from the same noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from sdcli.catalog.schedulers.resolve import resolve_scheduler
from sdcli.checkpoints.refiner import fetch_defaults
from sdcli.errors import UsageError, quoted
from sdcli.job import Job
from sdcli.planning.resolve import random_seed, resolve_jobs
from sdcli.prompts.scene import PromptScene
from sdcli.prompts.sources import IterableSource
from sdcli.request import GenerationRequest
from sdcli.result import GenerationResult, JobFailure, StepEvent
from sdcli.workflows.prompt_match import PROMPT_MATCH, PromptJudge, scene_of
from sdcli.workflows.scheduler_comparison import (
    CONVERGED_DB,
    ImageDistance,
    SchedulerComparison,
    SchedulerRun,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

REFERENCE_SCHEDULER: Final = "DPM++ 2M"

_IN_FULL: Final[Mapping[str, Any]] = {"feature_cache": None, "guidance_every": None, "draft": False}
"""The fields of a request that would leave something out, as the reference has them."""

Outcome = GenerationResult | JobFailure


@dataclass(frozen=True, kw_only=True)
class ProgressCallbacks:
    """What is called while images are generated: at each step, after each image, with warnings."""

    on_step: Callable[[StepEvent], None] | None = None
    on_image: Callable[[], None] = lambda: None
    warn: Callable[[str], None] | None = None


def compare_schedulers(
    templates: Iterable[GenerationRequest],
    schedulers: Sequence[str],
    steps: Sequence[int],
    *,
    reference_steps: int,
    target: float | None = None,
    judge: PromptJudge | None = None,
    callbacks: ProgressCallbacks | None = None,
) -> SchedulerComparison:
    """Generate images with each scheduler and number of steps, and with the reference.

    All runs share the prompts and the seeds of the templates, which leave scheduler and steps open.
    With a `target`, also find the fewest steps with which each scheduler reaches that PSNR in dB,
    by bisection: more steps are assumed to be nearer. The `judge` tells how much of what a prompt
    names is in the image.

    Raises SdcliError for options that any of the runs rejects, before anything is generated, and
    when the reference fails. Another run that fails is kept with its error.
    """
    images = _single_images(templates)
    # Short names leave out what the model's own file implies.
    config = fetch_defaults(images[0].spec).scheduler_config
    labels = [resolve_scheduler(name, config).label for name in schedulers]
    _check_distinct(schedulers, labels)
    pairs = [(label, n) for label in labels for n in steps]
    callbacks = callbacks or ProgressCallbacks()
    _check_requests(images, [(REFERENCE_SCHEDULER, reference_steps), *pairs])
    if judge:
        _check_judged(images, callbacks)
    measurer = _Measurer(images, reference_steps, config, callbacks, judge)
    runs = [measurer.measure(label, n) for label, n in pairs]
    fewest = []
    if target is not None:
        fewest = [
            (label, measurer.find_fewest([run for run in runs if run.scheduler == label], target))
            for label in labels
        ]
    return SchedulerComparison(
        reference=measurer.reference,
        runs=tuple(runs),
        target=CONVERGED_DB if target is None else target,
        fewest=tuple(fewest),
    )


class _Measurer:
    """The reference's images, and what is measured against them."""

    def __init__(
        self,
        images: Sequence[GenerationRequest],
        steps: int,
        config: Mapping[str, object],
        callbacks: ProgressCallbacks,
        judge: PromptJudge | None,
    ) -> None:
        self._images = images
        self._judge = judge
        self._config = config
        self._callbacks = callbacks
        self._references: list[GenerationResult] = []
        whole = [replace(image, **_IN_FULL) for image in images]
        for outcome in self._generate(whole, REFERENCE_SCHEDULER, steps):
            if isinstance(outcome, JobFailure):
                raise outcome.error
            self._references.append(outcome)
        self.reference = self._to_run(REFERENCE_SCHEDULER, steps, self._references)

    def measure(self, label: str, steps: int) -> SchedulerRun:
        """Generate all images with a scheduler and a number of steps."""
        return self._to_run(label, steps, list(self._generate(self._images, label, steps)))

    def find_fewest(self, runs: Sequence[SchedulerRun], target: float) -> SchedulerRun | None:
        """Return the run of the fewest steps that reaches a target, None if none of `runs` does.

        `runs` are those of one scheduler, by rising steps.
        """
        best = next((run for run in runs if run.reaches(target)), None)
        if best is None:
            return None
        sampler = resolve_scheduler(best.scheduler, self._config).sampler
        least = sampler.min_steps if sampler else 1
        too_few = max((run.steps for run in runs if run.steps < best.steps), default=least - 1)
        while best.steps - too_few > 1:
            run = self.measure(best.scheduler, (best.steps + too_few) // 2)
            if run.reaches(target):
                best = run
            else:
                too_few = run.steps
        return best

    def _generate(
        self, images: Sequence[GenerationRequest], label: str, steps: int
    ) -> Iterator[Outcome]:
        from sdcli.runner.loop import iter_results

        source = IterableSource(_requests(images, label, steps))
        callbacks = self._callbacks
        for outcome in iter_results(
            source, save_latents="final", on_step=callbacks.on_step, warn=callbacks.warn
        ):
            callbacks.on_image()
            yield outcome

    def _to_run(self, label: str, steps: int, outcomes: Sequence[Outcome]) -> SchedulerRun:
        results = [o for o in outcomes if isinstance(o, GenerationResult)]
        first = outcomes[0]
        return SchedulerRun(
            scheduler=label,
            stochastic=resolve_scheduler(label, self._config).is_stochastic,
            steps=steps,
            unet_calls=len(results[0].run.timesteps) if results else None,
            images=tuple(map(self._measure, self._images, outcomes, self._references)),
            pixels=first.pixels if isinstance(first, GenerationResult) else None,
        )

    def _measure(
        self, request: GenerationRequest, outcome: Outcome, reference: GenerationResult
    ) -> ImageDistance:
        from sdcli.numerics.metrics import psnr, rmse

        seed = request.seed or 0
        if isinstance(outcome, JobFailure):
            return ImageDistance(prompt=request.prompt, seed=seed, error=outcome.error)
        return ImageDistance(
            prompt=request.prompt,
            seed=seed,
            seconds=outcome.seconds["denoise"],
            latent_rmse=rmse(_final_latents(outcome), _final_latents(reference)),
            psnr=_finite(psnr(outcome.pixels, reference.pixels)),
            prompt_match=self._match(outcome),
        )

    def _match(self, result: GenerationResult) -> float | None:
        scene = _scene_of_job(result.job)
        if self._judge is None or scene is None:
            return None
        match: float = self._judge.judge(scene, result.pixels)[PROMPT_MATCH]
        return match


def _scene_of_job(job: Job) -> PromptScene | None:
    return scene_of(job.spec.model, job.prompt, *job.final_size)


def _single_images(templates: Iterable[GenerationRequest]) -> list[GenerationRequest]:
    """One request for each image, with its seed; templates without a seed share a random one."""
    shared = random_seed()
    images = []
    for template in templates:
        for name in ("scheduler", "num_inference_steps"):
            if getattr(template, name) is not None:
                raise _varied_field_error(template, name)
        seed = shared if template.seed is None else template.seed
        images += [replace(template, seed=seed + i, count=1) for i in range(template.count)]
    return images


def _varied_field_error(template: GenerationRequest, name: str) -> UsageError:
    option = {"scheduler": "scheduler", "num_inference_steps": "steps"}[name]
    return UsageError(
        f"the prompt {quoted(template.prompt)} sets its own {option}",
        code=f"usage.{name}",
        hint=f"remove it from the prompt file: the comparison varies the {option}",
    )


def _requests(
    images: Sequence[GenerationRequest], label: str, steps: int
) -> list[GenerationRequest]:
    return [replace(image, scheduler=label, num_inference_steps=steps) for image in images]


def _check_distinct(schedulers: Sequence[str], labels: Sequence[str]) -> None:
    for i, label in enumerate(labels):
        if label in labels[:i]:
            raise UsageError(
                f"--schedulers: {schedulers[labels.index(label)]!r} and {schedulers[i]!r} are both "
                f"{label}",
                code="usage.schedulers",
                hint="name each scheduler once",
            )


def _check_judged(images: Sequence[GenerationRequest], callbacks: ProgressCallbacks) -> None:
    """Raise UsageError if no image can be judged, and warn if some cannot."""
    jobs = [job for image in images for job in resolve_jobs(image, fetch_defaults(image.spec), 0)]
    unknown = [job for job in jobs if _scene_of_job(job) is None]
    if len(unknown) == len(jobs):
        raise UsageError(
            f"--score: {quoted(jobs[0].prompt)} cannot be judged",
            code="usage.score",
            hint="only images of the built-in model at 128x128 can, whose prompts are worded as "
            "its captions: see sdcli help gallery",
        )
    if unknown and callbacks.warn:
        callbacks.warn(f"images without a score, because they cannot be judged: {len(unknown)}")


def _check_requests(images: Sequence[GenerationRequest], pairs: Sequence[tuple[str, int]]) -> None:
    """Plan all runs, to find those that would be rejected."""
    defaults = {spec: fetch_defaults(spec) for spec in dict.fromkeys(i.spec for i in images)}
    for label, steps in pairs:
        for request in _requests(images, label, steps):
            list(resolve_jobs(request, defaults[request.spec], 0))


def _final_latents(result: GenerationResult) -> NDArray[Any]:
    assert result.latents is not None
    final: NDArray[Any] = result.latents["final"]
    return final


def _finite(decibels: float) -> float | None:
    """None for the infinite PSNR of identical images, because JSON has no infinity."""
    return decibels if math.isfinite(decibels) else None
