"""Build the sink that shows images while they form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sdcli.errors import UsageError
from sdcli.request import PipelineSpec
from sdcli.runner.options import PreviewOptions, RunOptions

if TYPE_CHECKING:
    from sdcli.latents import LatentsRenderer
    from sdcli.terminal.preview import PreviewSink, PreviewTarget
    from sdcli.terminal.progress import ProgressBar


def build_preview(
    watching: PreviewOptions, delivery: RunOptions, bar: ProgressBar, warn: Callable[[str], None]
) -> PreviewSink:
    """What shows the steps of a run, as a sink of its latents.

    Raises UsageError or OutputError for a file that cannot be written.
    """
    from sdcli.engine.preview import linear_renderer, vae_renderer
    from sdcli.storage.images.codec import FORMATS
    from sdcli.storage.images.destination import parse_destination
    from sdcli.terminal.image_progress import ImageProgress
    from sdcli.terminal.preview import PreviewFile, PreviewSink

    def look_of(spec: PipelineSpec) -> LatentsRenderer:
        if watching.vae is not None:
            return vae_renderer(replace(spec, vae=watching.vae), warn)
        try:
            return linear_renderer(spec)
        except UsageError as error:
            raise UsageError(
                error.message, code=error.code, hint="add --preview-vae VAE"
            ) from error

    screens: list[PreviewTarget] = [bar] if isinstance(bar, ImageProgress) else []
    if watching.out is not None:
        path = Path(watching.out)
        if path.suffix.lower() not in FORMATS or path == Path(delivery.out):
            raise UsageError(
                f"--preview-out: {watching.out} is no image file of its own",
                code="usage.preview",
                hint="as in --preview-out now.png",
            )
        screens.append(
            PreviewFile(parse_destination(watching.out, several=False, force=delivery.force))
        )
    return PreviewSink(look_of, screens)
