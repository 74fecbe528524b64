"""The one loop: requests arrive, are planned, drawn in batches, and handed on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Final, Literal

from sdcli.catalog.models import ModelDefaults, read_defaults, unknown_words
from sdcli.errors import ExitCode, Interrupted, SdcliError
from sdcli.plan import Job, batch_key, plan
from sdcli.prompts.arrivals import Arrivals, Given
from sdcli.request import GenerationRequest, PipelineSpec
from sdcli.result import Failure, GenerationResult, StepEvent, Written

if TYPE_CHECKING:
    from sdcli.engine import LoadedPipeline
    from sdcli.output.images import Destination

SaveLatents = Literal["final", "all"]
ReportForm = Literal["paths", "json", "jsonl"]
Warn = Callable[[str], None]

_REAL_CHECKPOINT: Final = (
    "it draws a small world; for any other give a real checkpoint, "
    "as in -m stable-diffusion-v1-5/stable-diffusion-v1-5"
)

_loaded: dict[PipelineSpec, LoadedPipeline] = {}


def generate(
    requests: GenerationRequest | Iterable[GenerationRequest],
    *,
    batch_size: int | None = 1,
    save_latents: SaveLatents | None = None,
    on_step: Callable[[StepEvent], None] | None = None,
) -> list[GenerationResult]:
    """Draw the images of one or several requests, in their order, and write nothing.

    At batch size 1 every image is exact; larger ones are faster and equal to rounding; None lets
    the memory decide. The pipeline stays loaded for the next call with an equal spec. Raises the
    first SdcliError that any of the images meets.
    """
    given = [requests] if isinstance(requests, GenerationRequest) else requests
    results = []
    for outcome in outcomes(
        Given(given), batch_size=batch_size, save_latents=save_latents, on_step=on_step
    ):
        if isinstance(outcome, Failure):
            raise outcome.error
        results.append(outcome)
    return results


def outcomes(
    source: Arrivals,
    *,
    batch_size: int | None = 1,
    save_latents: SaveLatents | None = None,
    on_step: Callable[[StepEvent], None] | None = None,
    warn: Warn | None = None,
) -> Iterator[GenerationResult | Failure]:
    """What becomes of each request, in order: its images, or the failure of the batch it was in.

    A batch is what has already arrived, up to `batch_size` (None: as many as fit). Raises
    SdcliError for what no later job could survive: a bad request, a model that does not load.
    """
    from sdcli import engine

    planner = _Planner(warn or (lambda text: None))
    held = planner.jobs(source.take(1, wait=True))
    while held:
        pipeline = _pipeline(held[0].spec, planner.warn)
        limit = batch_size or engine.auto_batch_size(pipeline, held[0])
        held += planner.jobs(source.take(max(0, limit - len(held)), wait=False))
        batch = _leading(held[:limit])
        try:
            yield from engine.generate(pipeline, batch, on_step=on_step, save_latents=save_latents)
        except SdcliError as error:
            yield Failure(jobs=tuple(batch), error=error)
        held = held[len(batch) :] or planner.jobs(source.take(1, wait=True))


def _leading(jobs: Sequence[Job]) -> list[Job]:
    """The first jobs, as far as they may share a batch."""
    key = batch_key(jobs[0])
    return list(takewhile(lambda job: batch_key(job) == key, jobs))


class _Planner:
    """Requests to jobs, numbered over the whole run. Each word a model never saw is told once."""

    def __init__(self, warn: Warn) -> None:
        self.warn = warn
        self._planned = 0
        self._told: set[str] = set()

    def jobs(self, requests: Iterable[GenerationRequest]) -> list[Job]:
        jobs: list[Job] = []
        for request in requests:
            defaults = _defaults(request.spec)
            jobs += plan(request, defaults, self._planned + len(jobs))
            if defaults.words is not None:
                self._tell(unknown_words(request.prompt, defaults.words))
        self._planned += len(jobs)
        return jobs

    def _tell(self, words: Iterable[str]) -> None:
        if new := [word for word in words if word not in self._told]:
            self.warn(f"this model was never shown: {', '.join(new)}")
            if not self._told:
                self.warn(_REAL_CHECKPOINT)
            self._told.update(new)


def _defaults(spec: PipelineSpec) -> ModelDefaults:
    from sdcli.engine.fetch import fetch

    return read_defaults(fetch(spec))


def _pipeline(spec: PipelineSpec, warn: Warn) -> LoadedPipeline:
    """The loaded pipeline; one at a time, since two may not fit into memory."""
    from sdcli import engine

    if spec not in _loaded:
        _loaded.clear()
        _loaded[spec] = engine.load(spec)
        for note in _loaded[spec].notes:
            warn(note)
    return _loaded[spec]


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """Where images go and what goes with them; `images` is how many come, None for a stream.

    `observe` is shown every result once its file is written.
    """

    out: str
    images: int | None
    force: bool = False
    metadata: bool = True
    sidecar: bool = False
    save_latents: SaveLatents | None = None
    report: ReportForm = "paths"
    verbosity: int = 0
    observe: Callable[[GenerationResult], None] | None = None


def deliver(source: Arrivals, delivery: Delivery, *, batch_size: int | None = 1) -> ExitCode:
    """Draw what arrives, write every image and report it at once. A failed job stops no other.

    Returns PARTIAL when only some of the images were made, else the first failure's own code.
    Raises OutputError or UsageError before anything is loaded when `out` cannot be.
    """
    from sdcli.output import console, images, reports

    several = delivery.images != 1
    destination = images.destination(delivery.out, several=several, force=delivery.force)
    talk = console.Console(verbosity=delivery.verbosity)
    report = reports.of_form(delivery.report, talk)
    errors: list[SdcliError] = []
    made = 0
    try:
        with talk.progress(delivery.images) as progress:
            for outcome in outcomes(
                source,
                batch_size=batch_size,
                save_latents=delivery.save_latents,
                on_step=progress.on_step,
                warn=talk.warn,
            ):
                if isinstance(outcome, Failure):
                    errors.append(outcome.error)
                    report.failed(outcome.error)
                    progress.done(len(outcome.jobs))
                    continue
                for event in outcome.events:
                    talk.warn(event)
                report.image(*_write(outcome, destination, delivery))
                if delivery.observe:
                    delivery.observe(outcome)
                progress.done(1)
                made += 1
    except (SdcliError, KeyboardInterrupt) as stop:
        error = stop if isinstance(stop, SdcliError) else _interrupted(made)
        errors.append(error)
        report.failed(error)
    report.close()
    return _exit_code(made, errors)


def _write(
    result: GenerationResult, destination: Destination, delivery: Delivery
) -> tuple[Written, str | None]:
    """The image, all that goes beside it, and the path of its latents."""
    from sdcli.engine import versions
    from sdcli.output import images, record, tensors

    facts = versions()
    written = images.write(result, destination, versions=facts, metadata=delivery.metadata)
    if delivery.sidecar:
        record.write_sidecar(written, facts)
    if not delivery.save_latents:
        return written, None
    return written, tensors.write_latents(written, versions=facts, force=delivery.force)


def _interrupted(made: int) -> Interrupted:
    finished = "1 image is" if made == 1 else f"{made} images are"
    return Interrupted(f"interrupted; {finished} finished and whole", code="interrupted")


def _exit_code(made: int, errors: Sequence[SdcliError]) -> ExitCode:
    if not errors:
        return ExitCode.OK
    if any(isinstance(error, Interrupted) for error in errors):
        return ExitCode.INTERRUPTED
    return ExitCode.PARTIAL if made else errors[0].exit_code
