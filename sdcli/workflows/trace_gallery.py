"""Show the trace of a run as one HTML page with its steps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sdcli.latents import X0
from sdcli.numerics.heat_maps import relative_maps, word_maps
from sdcli.numerics.prediction import distance
from sdcli.storage.gallery.trace_page import TracedWord, TracePage, render_trace
from sdcli.storage.images.codec import read_image_info
from sdcli.storage.trace_reader import Trace, read_trace
from sdcli.story import Plot, percent, say
from sdcli.workflows.image_settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sdcli.latents import LatentsRenderer

LINEAR: Final = "linear"


def build_trace_page(
    folder: Path, *, vae: str | None, thumbnail: int, warn: Callable[[str], None]
) -> tuple[str, int]:
    """Return the page of the trace in a folder, and its number of steps.

    Latents are decoded by the run's own VAE, by another `vae`, or as "linear" by the approximation
    of their model's colours, which needs no torch. Raises UsageError for a model without that
    approximation, ModelError for one that is not there, and CorruptError for a damaged trace.
    """
    trace = read_trace(folder)
    render = _find_renderer(trace, vae, warn)
    points = trace.points()
    steps = range(1, len(trace.steps) + 1)
    command, _ = read_settings(trace.image, read_image_info(trace.image, with_hash=False))
    request = trace.latents.request
    count = say("{steps:step|steps}", steps=len(steps)).text
    page = TracePage(
        title=request.prompt or "no prompt",
        subtitle=f"seed {request.seed}, {count}, {request.scheduler}",
        command=command,
        noisy=[render(point) for point in points[:-1]],
        predicted=[render(trace.array(X0, step)) for step in steps],
        facts=[_describe_step(step) for step in trace.steps],
        words=list(_words(trace)),
        plots=list(_plots(trace, points)),
        side=thumbnail,
    )
    return render_trace(page), len(steps)


def _find_renderer(trace: Trace, vae: str | None, warn: Callable[[str], None]) -> LatentsRenderer:
    from sdcli.workflows.render_latents import RendererOptions, linear_renderer, vae_renderer

    if vae == LINEAR:
        return linear_renderer(trace.latents, None)
    spec = RendererOptions(vae=vae).pipeline_spec(trace.latents)
    return vae_renderer(spec, trace.latents.request.vae_tiling, warn)


def _describe_step(step: Any) -> str:
    sigma = "infinite" if step["sigma"] is None else f"{step['sigma']:.3g}"
    share = step["guidance_share"]
    guided = "" if share is None else f", guidance {percent(share)} of the output"
    return f"Step {step['step']}: noise level (sigma) {sigma}{guided}."


def _words(trace: Trace) -> Iterator[TracedWord]:
    """The words that name or describe something, with their maps stretched over all steps."""
    import numpy as np

    words = [word for word in trace.words if word.is_content] or list(trace.words)
    if not words:
        return
    tokens = [word.tokens for word in words]
    content = [word.tokens for word in trace.words if word.is_content]
    attention = [trace.array("attention", step) for step in range(1, len(trace.steps) + 1)]
    relative = np.stack([relative_maps(maps, tokens, content) for maps in attention], axis=1)
    raw = np.stack([word_maps(maps, tokens) for maps in attention], axis=1)
    for word, maps, own in zip(words, relative, raw, strict=True):
        # One scale for all steps, so that a map can be seen to grow.
        stretched = maps / max(float(maps.max()), 1e-12)
        yield TracedWord(text=word.text, share=percent(float(own.mean())), maps=stretched)


def _plots(trace: Trace, points: list[Any]) -> Iterator[Plot]:
    levels = [(step["step"], float(step["sigma"])) for step in trace.steps if step["sigma"]]
    end = trace.final
    if levels:
        yield Plot(
            title="Noise level (sigma) at each step, logarithmic",
            x_label="step",
            lines={"sigma": levels},
            log=True,
        )
    yield Plot(
        title="Distance to the finished image before each step",
        x_label="step",
        lines={"distance": [(i, distance(p, end)) for i, p in enumerate(points[:-1], 1)]},
    )
