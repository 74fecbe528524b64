"""Make the runs that an explanation measures: the traced one, and three beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sdcli.attention import AttentionSelection, PromptWord, choose_words
from sdcli.catalog.word_kinds import replacements
from sdcli.errors import UsageError
from sdcli.latents import FINAL, LatentsSelection
from sdcli.planning.prompt_syntax import WordPlaces
from sdcli.prompts.sources import IterableSource
from sdcli.request import MAX_SEED, GenerationRequest
from sdcli.result import GenerationResult, JobFailure, StepEvent
from sdcli.runner.loop import iter_results
from sdcli.runner.word_recorder import WordRecorder
from sdcli.storage.trace_reader import Trace, read_trace
from sdcli.workflows.measure_attention import (
    AttentionOptions,
    MeasuringCallbacks,
    WordMap,
    measure,
    picture_renderer,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sdcli.latents import LatentsRenderer

RUNS = 4
# Each word costs one or two UNet calls at five steps.
_MAX_REPLACED = 6
_THINGS = ("dog", "star", "tree", "car")


@dataclass(frozen=True, kw_only=True)
class ExplainCallbacks:
    """What is called at each step, after each run, and with warnings."""

    on_step: Callable[[StepEvent], None] | None = None
    on_run: Callable[[], None] = lambda: None
    warn: Callable[[str], None] = lambda text: None


@dataclass(frozen=True, kw_only=True, eq=False)
class Variant:
    """Another run: its image, its latents at the end, and the tokens of its words."""

    result: GenerationResult
    embeds: NDArray[Any]
    tokens: int

    @property
    def final(self) -> NDArray[Any]:
        """The last latents."""
        assert self.result.latents is not None
        array: NDArray[Any] = self.result.latents[FINAL]
        return array


@dataclass(frozen=True, kw_only=True, eq=False)
class ExplainedRun:
    """Everything that was measured: the traced run, and those that differ in one thing.

    `replaced` are the words whose replacement was measured in the run itself. `other_words` has
    `swapped` replaced by `replacement`, and the noise of the run.
    """

    trace: Trace
    result: GenerationResult
    render: LatentsRenderer
    replaced: tuple[WordMap, ...]
    other_noise: Variant
    swapped: PromptWord
    replacement: str
    other_words: Variant


_PLACES: Final = WordPlaces("explain", in_one_chunk=True)


def run_all(
    request: GenerationRequest, folder: Path, callbacks: ExplainCallbacks, *, force: bool = False
) -> ExplainedRun:
    """Generate the image of a request, write its trace to a folder, and make the other runs.

    Raises UsageError for an image that does not begin with noise alone, and for a prompt whose
    words have no fixed places; OutputError for a folder that has a trace already.
    """
    # Before anything is loaded, which takes long.
    check_request(request)
    result = _trace(replace(request, count=1), folder, callbacks, force=force)
    trace = read_trace(folder)
    # The seed that was drawn, for all runs.
    fixed = result.job.to_request(dtype=result.run.dtype)
    callbacks.on_run()
    replaced = _replace_words(fixed, trace.words, callbacks)
    callbacks.on_run()
    seed = result.job.seed + 1 if result.job.seed < MAX_SEED else 0
    other_noise = _run_variant(replace(fixed, seed=seed), callbacks)
    callbacks.on_run()
    swapped = choose_words(trace.words, ())[0]
    replacement = _replacement(swapped, trace.words)
    # The first occurrence only: another one keeps its part of the image.
    prompt = f"{fixed.prompt[: swapped.start]}{replacement}{fixed.prompt[swapped.end :]}"
    other_words = _run_variant(replace(fixed, prompt=prompt), callbacks)
    callbacks.on_run()
    return ExplainedRun(
        trace=trace,
        result=result,
        render=picture_renderer(result, callbacks.warn),
        replaced=replaced,
        other_noise=other_noise,
        swapped=swapped,
        replacement=replacement,
        other_words=other_words,
    )


def check_request(request: GenerationRequest) -> None:
    """Raise UsageError for a request that is not from noise to image in one pass."""
    for name, value, reason in (
        ("--image", request.image, "begins with an image"),
        ("--hires", request.hires, "has a second pass"),
    ):
        if value:
            raise UsageError(
                f"{name}: the explanation is of a run from noise to image, and this one {reason}",
                code="usage.explain",
                hint=f"leave out {name}, or name an image that was made without it",
            )
    if not request.prompt.strip():
        raise _no_words_error()


def _trace(
    request: GenerationRequest, folder: Path, callbacks: ExplainCallbacks, *, force: bool
) -> GenerationResult:
    from sdcli.storage.trace_writer import TraceWriter
    from sdcli.versions import library_versions

    with TraceWriter(folder, library_versions(), force=force) as writer:

        def make_recorder(run: Any) -> Any:
            from sdcli.engine.recorders.trace import TraceRecorder

            _check_words(run)
            return TraceRecorder(run, writer)

        result = _run(
            request, callbacks, sinks=[writer], recorders=[WordRecorder(_PLACES, make_recorder)]
        )
        for event in result.events:
            callbacks.warn(event)
        writer.finish(result)
    return result


def _check_words(run: Any) -> None:
    from sdcli.engine.recorders.prompt_words import find_prompt_words

    if not find_prompt_words(run, 0):
        raise _no_words_error()


def _no_words_error() -> UsageError:
    return UsageError("explain: the prompt has no words", code="usage.prompt")


def _replace_words(
    request: GenerationRequest, words: Sequence[PromptWord], callbacks: ExplainCallbacks
) -> tuple[WordMap, ...]:
    """Measure where the prediction moves when each of the content words is replaced."""
    content = [word for word in words if word.is_content] or list(words)
    texts = tuple(dict.fromkeys(word.text for word in content))[:_MAX_REPLACED]
    options = AttentionOptions(selection=AttentionSelection(words=texts), causal=True)
    # The same image is generated again, so its warnings were printed already.
    shown = MeasuringCallbacks(on_step=callbacks.on_step)
    return measure(request, options, shown).words


def _replacement(word: PromptWord, words: Sequence[PromptWord]) -> str:
    """A word of the same kind that the prompt does not have, if there is one."""
    taken = {other.text.lower() for other in words}
    things = tuple(thing for thing in _THINGS if thing not in taken)
    others = replacements(word.text, things)
    return next((other for other in others if other not in taken), others[0])


def _run_variant(request: GenerationRequest, callbacks: ExplainCallbacks) -> Variant:
    recorders: list[Any] = []

    def make_recorder(run: Any) -> Any:
        from sdcli.engine.recorders.prompt_embeds import PromptEmbedsRecorder

        recorders.append(PromptEmbedsRecorder(run))
        return recorders[-1]

    selection = LatentsSelection.parse("final")
    result = _run(
        request,
        # The warnings of the model were printed already.
        ExplainCallbacks(on_step=callbacks.on_step),
        recorders=[WordRecorder(_PLACES, make_recorder)],
        save_latents=selection,
    )
    return Variant(result=result, embeds=recorders[-1].embeds, tokens=recorders[-1].tokens)


def _run(
    request: GenerationRequest, callbacks: ExplainCallbacks, **options: Any
) -> GenerationResult:
    [outcome] = iter_results(
        IterableSource([request]), on_step=callbacks.on_step, warn=callbacks.warn, **options
    )
    if isinstance(outcome, JobFailure):
        raise outcome.error
    return outcome
