"""Draw the pictures of an explanation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sdcli.attention import PromptWord, choose_words
from sdcli.numerics.heat_maps import relative_maps, stretch, word_maps
from sdcli.story import Picture, percent
from sdcli.workflows.measure_attention import WordMap

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sdcli.storage.trace_reader import Trace


def mean_attention(trace: Trace) -> NDArray[Any]:
    """Return the attention (tokens, height, width), averaged over the steps."""
    import numpy as np

    steps = range(1, len(trace.steps) + 1)
    mean: NDArray[Any] = np.mean([trace.array("attention", step) for step in steps], axis=0)
    return mean


def thing_maps(trace: Trace) -> tuple[WordMap, ...]:
    """Return the maps of the things that the prompt names, from the attention of the trace."""
    return maps_of(trace, choose_words(trace.words, ()))


def maps_of(trace: Trace, words: Sequence[PromptWord]) -> tuple[WordMap, ...]:
    """Return the maps of some words, from the attention of the trace."""
    maps = mean_attention(trace)
    tokens = [word.tokens for word in words]
    content = [word.tokens for word in trace.words if word.is_content]
    raw, relative = word_maps(maps, tokens), relative_maps(maps, tokens, content)
    return tuple(
        WordMap(word=word, map=relative[i], raw=raw[i], share=float(raw[i].mean()))
        for i, word in enumerate(words)
    )


def heat_pictures(words: Sequence[WordMap], pixels: NDArray[np.uint8]) -> list[Picture]:
    """Draw the map of each word over the image."""
    import numpy as np

    from sdcli.storage.images.heat_map import draw_heat_map, enlarge_smoothly

    picture = enlarge_smoothly(pixels)
    heats = stretch(np.stack([shown.map for shown in words]))
    return [
        Picture(f"{shown.word.text}: {percent(shown.share)}", draw_heat_map(picture, heat))
        for shown, heat in zip(words, heats, strict=True)
    ]
