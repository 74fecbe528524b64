"""Build the sink that shows images while they are being generated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sdcli.errors import UsageError
from sdcli.inputs.paths import output_path
from sdcli.pipeline_spec import PipelineSpec
from sdcli.runner.options import PreviewOptions, RunOptions

if TYPE_CHECKING:
    from sdcli.latents import LatentsRenderer
    from sdcli.terminal.preview import PreviewFile, PreviewSink, PreviewTarget
    from sdcli.terminal.progress import ProgressBar


def build_preview(
    preview: PreviewOptions,
    options: RunOptions,
    progress: ProgressBar,
    warn: Callable[[str], None],
) -> PreviewSink:
    """Build the sink of latents that shows the steps of a run.

    Raises UsageError or OutputError for a file that cannot be written.
    """
    from sdcli.terminal.image_progress import ImageProgress
    from sdcli.terminal.preview import PreviewSink

    targets: list[PreviewTarget] = [progress] if isinstance(progress, ImageProgress) else []
    if preview.out is not None:
        targets.append(_open_preview_file(preview.out, options))
    return PreviewSink(lambda spec: _find_renderer(spec, preview.vae, warn), targets)


def _find_renderer(
    spec: PipelineSpec, vae: str | None, warn: Callable[[str], None]
) -> LatentsRenderer:
    from sdcli.engine.preview import linear_renderer, vae_renderer

    if vae is not None:
        return vae_renderer(replace(spec, vae=vae), warn)
    try:
        return linear_renderer(spec)
    except UsageError as error:
        raise UsageError(error.message, code=error.code, hint="add --preview-vae VAE") from error


def _open_preview_file(out: str, options: RunOptions) -> PreviewFile:
    from sdcli.storage.images.codec import FORMATS
    from sdcli.storage.images.destination import parse_destination
    from sdcli.terminal.preview import PreviewFile

    path = output_path(out)
    if path.suffix.lower() not in FORMATS or path == Path(options.out):
        raise UsageError(
            f"--preview-out: {out} is not a supported image file, or is the file of --out",
            code="usage.preview",
            hint="e.g. --preview-out now.png",
        )
    return PreviewFile(parse_destination(out, several=False, force=options.force))
