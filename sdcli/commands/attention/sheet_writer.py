"""Write the pictures and tensors of measured attention."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from sdcli.commands.attention.options import DrawFlags
from sdcli.inputs.paths import output_path
from sdcli.run_flags import OutputFlags

if TYPE_CHECKING:
    from sdcli.terminal.console import Console
    from sdcli.workflows.measure_attention import MeasuredImage


class SheetWriter:
    """Writes the pictures of the command; the constructor checks that it can."""

    def __init__(self, draw: DrawFlags, output: OutputFlags, *, json: bool) -> None:
        from sdcli.storage import files
        from sdcli.storage.images.animation import prepare_animation
        from sdcli.storage.images.destination import parse_destination
        from sdcli.storage.weights_file import check_target

        self._draw = draw
        self._force = output.force
        self._raw = None if draw.raw is None else output_path(draw.raw)
        if self._raw:
            files.prepare_folder(self._raw.parent)
            check_target(self._raw, 0, force=output.force)
        self._animation: Path | None = None
        if draw.animate:
            self._animation = prepare_animation(output.out, force=output.force)
        else:
            self._destination = parse_destination(
                output.out, several=draw.separate, force=output.force, json=json
            )

    def write(self, measured: MeasuredImage, console: Console) -> list[str]:
        """Write the files, and return their paths."""
        from sdcli.workflows.draw_attention import write_raw

        paths = list(self._write_pictures(measured, console))
        if self._raw:
            write_raw(measured, self._raw, force=self._force)
            paths.append(str(self._raw))
        return paths

    def _write_pictures(self, measured: MeasuredImage, console: Console) -> Iterator[str]:
        from sdcli.storage.images.animation import write_animation
        from sdcli.storage.images.writer import write_pixels
        from sdcli.storage.text import slug
        from sdcli.workflows import draw_attention as drawing

        style, columns = self._draw.style or "grey", self._draw.columns
        common = self._draw.scale == "common"
        job = measured.result.job
        name = f"attention-{slug(job.prompt)}-{job.seed}"
        if self._animation:
            frames = drawing.draw_frames(measured, style=style, columns=columns, warn=console.warn)
            yield write_animation(frames, self._animation, name, fps=8.0, force=self._force)
        elif self._draw.separate:
            for label, pixels in drawing.draw_words(measured, style=style, common=common):
                yield write_pixels(pixels, self._destination, f"{name}-{slug(label)}")
        elif measured.attention and measured.attention.by_head:
            sheet = drawing.draw_heads(measured, style=style, columns=columns)
            yield write_pixels(sheet, self._destination, name)
        else:
            sheet = drawing.draw_sheet(measured, style=style, common=common, columns=columns)
            yield write_pixels(sheet, self._destination, name)
