"""Generate an image, and measure which words of its prompt made which patches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from sdcli.attention import AttentionMaps, AttentionSelection, CausalMap, PromptWord
from sdcli.errors import UsageError
from sdcli.latents import FINAL, X0, LatentsSelection, tensor_name
from sdcli.numerics.heat_maps import relative_maps, stretch, word_maps
from sdcli.planning.prompt_syntax import WordPlaces
from sdcli.prompts.sources import IterableSource
from sdcli.request import GenerationRequest
from sdcli.result import GenerationResult, JobFailure, StepEvent
from sdcli.runner.loop import iter_results
from sdcli.runner.word_recorder import WordRecorder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sdcli.latents import LatentsRenderer

SCHEMA: Final = "sdcli/attention/1"


@dataclass(frozen=True, kw_only=True)
class AttentionOptions:
    """What to measure. With `causal`, words are replaced, by `swaps` where it names them."""

    selection: AttentionSelection
    causal: bool = False
    swaps: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class WordMap:
    """The map of one word, (height, width) and at least 0, and its part of the whole.

    `raw` is what was measured: attention probabilities, or the move of the prediction.
    """

    word: PromptWord
    map: NDArray[Any]
    raw: NDArray[Any]
    share: float
    replacements: tuple[str, ...] = ()

    def peak(self, width: int, height: int) -> tuple[int, int]:
        """Return the middle of the highest patch, in pixels of an image of that size."""
        rows, columns = self.map.shape
        row, column = divmod(int(self.map.argmax()), columns)
        return int((column + 0.5) * width / columns), int((row + 0.5) * height / rows)


@dataclass(frozen=True, kw_only=True, eq=False)
class MeasuredImage:
    """An image with the maps of its words. `pixels` is what was drawn, (height, width, 3).

    `attention` is None for causal maps.
    """

    result: GenerationResult
    pixels: NDArray[np.uint8]
    words: tuple[WordMap, ...]
    attention: AttentionMaps | None
    patch: tuple[float, float] | None = None

    @cached_property
    def pixels_sha256(self) -> str:
        """The hash of the whole image's pixels, as records have it."""
        from sdcli.storage.metadata import record

        return record.pixels_sha256(self.result.pixels)

    def word_steps(self) -> list[tuple[int, NDArray[Any]]]:
        """Return the UNet calls, and the maps (words, height, width) of each, at least 0."""
        assert self.attention is not None
        chosen = [shown.word.tokens for shown in self.words]
        content = content_tokens(self.attention)
        return [
            (call, relative_maps(maps, chosen, content))
            for call, maps in sorted(self.attention.by_step.items())
        ]


@dataclass(frozen=True, kw_only=True)
class MeasuringCallbacks:
    """What is called while the image is generated: at each step, and with warnings."""

    on_step: Callable[[StepEvent], None] | None = None
    warn: Callable[[str], None] | None = None


def measure(
    request: GenerationRequest,
    options: AttentionOptions,
    callbacks: MeasuringCallbacks | None = None,
) -> MeasuredImage:
    """Generate the image of a request, which is the same as without, and measure its words.

    Raises UsageError for words, layers, steps and points that the run does not have, and the
    SdcliError of a run that fails.
    """
    callbacks = callbacks or MeasuringCallbacks()
    recorders: list[Any] = []

    def make_recorder(run: Any) -> Any:
        recorders.append(_make_recorder(run, options))
        return recorders[-1]

    kinds = (X0,) if options.selection.by_step else ()
    [outcome] = iter_results(
        IterableSource([replace(request, count=1)]),
        save_latents=LatentsSelection(kinds=kinds, every=1 if kinds else None),
        on_step=callbacks.on_step,
        warn=callbacks.warn,
        recorders=[WordRecorder(WordPlaces("attention"), make_recorder)],
    )
    if isinstance(outcome, JobFailure):
        raise outcome.error
    pixels = _drawn_pixels(outcome, callbacks)
    # A run that did not fit into memory began again: its last recorder saw all of it.
    recorder = recorders[-1]
    if options.causal:
        words = tuple(map(_causal_word, recorder.causal_maps()))
        return MeasuredImage(result=outcome, pixels=pixels, words=words, attention=None)
    maps: AttentionMaps = recorder.maps_of(0)
    point = options.selection.patch
    wanted = maps.chosen if options.selection.words or point is None else ()
    patch = None if point is None else (point[0] / outcome.job.width, point[1] / outcome.job.height)
    return MeasuredImage(
        result=outcome,
        pixels=pixels,
        words=tuple(_attention_words(maps, wanted)),
        attention=maps,
        patch=patch,
    )


def _make_recorder(run: Any, options: AttentionOptions) -> Any:
    from sdcli.engine.recorders.attention import AttentionRecorder
    from sdcli.engine.recorders.causal import CausalRecorder

    if options.causal:
        recorder: Any = CausalRecorder(run, options.selection, options.swaps)
    else:
        recorder = AttentionRecorder(run, options.selection)
    if not recorder.has_words():
        raise UsageError("attention: the prompt has no words", code="usage.prompt")
    return recorder


def content_tokens(maps: AttentionMaps) -> list[tuple[int, ...]]:
    """Return the tokens of each word that names something."""
    return [word.tokens for word in maps.words if word.is_content]


def _attention_words(maps: AttentionMaps, wanted: Sequence[PromptWord]) -> list[WordMap]:
    if not wanted:
        return []
    tokens = [word.tokens for word in wanted]
    raw = word_maps(maps.maps, tokens)
    relative = relative_maps(maps.maps, tokens, content_tokens(maps))
    return [
        WordMap(word=word, map=relative[i], raw=raw[i], share=float(raw[i].mean()))
        for i, word in enumerate(wanted)
    ]


def _causal_word(causal: CausalMap) -> WordMap:
    return WordMap(
        word=causal.word,
        map=causal.map,
        raw=causal.map,
        share=causal.share,
        replacements=causal.replacements,
    )


def stretched_maps(words: Sequence[WordMap], *, common: bool) -> list[NDArray[Any]]:
    """Return the maps of words as 0 to 1: each on its own, or compared by their shares."""
    import numpy as np

    if not words:
        return []
    maps = np.stack([shown.map for shown in words])
    return list(stretch(maps, [shown.share for shown in words] if common else None))


def _drawn_pixels(result: GenerationResult, callbacks: MeasuringCallbacks) -> NDArray[np.uint8]:
    """The pixels that the maps belong to: of a repainted area only what was drawn.

    With --hires, those of the first pass.
    """
    job = result.job
    if result.pixels.shape[:2] == (job.height, job.width):
        return result.pixels
    assert result.latents is not None
    return picture_renderer(result, callbacks.warn)(result.latents[FINAL])


def picture_renderer(
    result: GenerationResult, warn: Callable[[str], None] | None
) -> LatentsRenderer:
    """Return the run's VAE as a renderer of latents."""
    from sdcli.workflows.render_latents import vae_renderer

    return vae_renderer(result.job.spec, result.job.vae_tiling, warn or (lambda text: None))


def predicted_images(
    measured: MeasuredImage, warn: Callable[[str], None] | None
) -> dict[int, NDArray[np.uint8]]:
    """Decode the predicted images of the measured UNet calls."""
    result, maps = measured.result, measured.attention
    assert result.latents is not None
    assert maps is not None
    render = picture_renderer(result, warn)
    return {call: render(result.latents[tensor_name(X0, call)]) for call in sorted(maps.by_step)}
