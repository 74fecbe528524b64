"""Generate images and return them: `sdcli.generate`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sdcli.latents import LatentsSelection
from sdcli.library.arguments import Expansion, Prompt, PromptList, collect, one_of
from sdcli.library.console import PythonConsole
from sdcli.library.error_messages import python_errors
from sdcli.library.output import FileOptions, open_writer
from sdcli.library.result import GenerationResult, ResultList
from sdcli.library.signature import parse_batch_size, take, with_settings
from sdcli.prompts.sources import IterableSource
from sdcli.result import JobFailure, StepEvent
from sdcli.runner.loop import iter_results

if TYPE_CHECKING:
    from sdcli.runner.writer import ResultWriter

OWN_ARGUMENTS: Final = (
    "requests", "out", "force", "batch_size", "save_latents", "on_step", "progress",
)  # fmt: skip
"""The arguments of `generate` that are not settings."""


@with_settings(FileOptions, Expansion)
@python_errors
def generate(
    requests: Prompt | Iterable[Prompt] | None = None,
    *,
    out: str | os.PathLike[str] | None = None,
    force: bool = False,
    batch_size: int | str | None = 1,
    save_latents: LatentsSelection | str | None = None,
    on_step: Callable[[StepEvent], None] | None = None,
    progress: bool | None = None,
    **settings: Any,
) -> list[GenerationResult]:
    """Generate images and return them in order; with `out`, also write them with their records.

    `requests` is a prompt, a dict of settings, a GenerationRequest, or a list of these. Further
    settings have the names of the command line or of Diffusers, and a list of values is a sweep:
    `generate("a cat", steps=8, guidance=[2, 4], negative="dark", size="128x96", seed=7, count=2)`.

    `out` is a file (numbered if there are several images) or a folder; `force`, `sidecar`,
    `no_metadata` and `record_paths` are those of `GenerationResult.save`. At batch size 1 every
    image is exact; larger batches are faster and equal up to floating-point rounding; None or
    "auto" lets the memory decide. `save_latents` ("final", "all", "every:5", "steps:1,5") fills the
    results' `latents`, and with `out` also saves them to files. `replace`, `wildcards` and
    `wildcard_mode` expand prompts as on the command line.

    The pipeline stays loaded for the next call with the same model. Threads may call this at the
    same time; they take turns. `on_step` must neither call it nor wait for a thread that does.
    `progress` shows a bar, by default in notebooks and terminals. All settings are checked before
    the first image. Raises the first SdcliError of any image.
    """
    console, size = PythonConsole(progress), parse_batch_size(batch_size)
    files = FileOptions(save_latents=save_latents, **take(settings, FileOptions))
    expansion = Expansion(**take(settings, Expansion))
    requests = one_of(requests, settings)
    template = expansion.template("generate", OWN_ARGUMENTS, settings)
    prompts, is_single = collect(requests)
    planned = PromptList(template, console.warn).expand(prompts, is_single=is_single)
    images = sum(request.count for request in planned)
    writer = _open_writer(out, images, files, force=force)
    with console.progress(images) as bar, writer.latents if writer else nullcontext():
        outcomes = iter_results(
            IterableSource(planned, template.wildcards),
            batch_size=size,
            save_latents=files.selection(),
            sinks=[writer.latents] if writer else [],
            on_step=_each(bar.on_step, on_step),
            warn=console.warn,
        )
        return ResultList(_results(outcomes, writer, bar.advance))


def _open_writer(
    out: str | os.PathLike[str] | None, images: int, files: FileOptions, *, force: bool
) -> ResultWriter | None:
    if out is None:
        files.check_unused(force=force)
        return None
    return open_writer(out, images=images, force=force, **files.run_options())


def _results(
    outcomes: Iterator[Any], writer: ResultWriter | None, advance: Callable[[int], None]
) -> Iterator[GenerationResult]:
    for outcome in outcomes:
        if isinstance(outcome, JobFailure):
            raise outcome.error
        path = Path(writer.save(outcome)[0].path) if writer else None
        yield GenerationResult.of(outcome, path)
        advance(1)


def _each(
    first: Callable[[StepEvent], None], second: Callable[[StepEvent], None] | None
) -> Callable[[StepEvent], None]:
    def on_step(event: StepEvent) -> None:
        first(event)
        if second:
            second(event)

    return on_step
