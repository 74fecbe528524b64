"""Encode frames as animations: GIF, WebP or MP4."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sdcli.errors import OutputError, UsageError
from sdcli.inputs.paths import output_path
from sdcli.storage import files

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Frames = Sequence[NDArray[np.uint8]]

SUFFIXES: Final = (".gif", ".webp", ".mp4")
_LAST_FRAME_SECONDS: Final = 1.0


def is_animation(out: str) -> bool:
    """Whether `--out` names an animation rather than an image or a folder."""
    return Path(out).suffix.lower() in SUFFIXES


def prepare_animation(out: str, *, force: bool) -> Path:
    """Parse `--out` for an animation, a file or a folder, and check it before any work is done.

    Raises UsageError for an unsupported format, OutputError when the file exists (without `force`)
    or cannot be written.
    """
    path = output_path(out)
    _check_format(out, path)
    if path.suffix and not path.is_dir():
        files.prepare_folder(path.parent)
        if path.exists() and not force:
            raise OutputError(
                f"{path} exists", code="output.exists", hint="choose another name, or add --force"
            )
    else:
        files.prepare_folder(path)
    return path


def _check_format(out: str, path: Path) -> None:
    if out == files.STDOUT:
        raise UsageError(
            "--out -: animations can't be written to stdout",
            code="usage.out",
            hint="give a file, as in -o cat.webp",
        )
    suffix = path.suffix.lower()
    if suffix == ".mp4" and find_spec("av") is None:
        raise UsageError(
            f"--out {out}: .mp4 needs the package av",
            code="usage.out",
            hint="pip install av, or write a .webp",
        )
    if suffix and suffix not in SUFFIXES and not path.is_dir():
        raise UsageError(
            f"--out {out}: unsupported output format {path.suffix}",
            code="usage.out",
            hint=f"use {', '.join(SUFFIXES)}, or a folder",
        )


def write_animation(frames: Frames, path: Path, name: str, *, fps: float, force: bool) -> str:
    """Write frames (height, width, 3) of one size, and return the path of the file.

    `path` is what `prepare_animation` returned; `name` is used in a folder. The last frame stays
    for a second. GIF has 256 colours per frame, WebP is lossless, MP4 is H.264. Raises OutputError.
    """
    suffix = path.suffix.lower() if path.suffix and not path.is_dir() else ".gif"
    data = _encode_mp4(frames, fps) if suffix == ".mp4" else _encode_frames(frames, suffix, fps)
    if path.is_dir():
        return str(files.write_numbered(path, "", f"-{name}{suffix}", data))
    files.write_atomic(path, data, force=force)
    return str(path)


def _encode_frames(frames: Frames, suffix: str, fps: float) -> bytes:
    from PIL import Image

    first, *rest = [Image.fromarray(frame) for frame in frames]
    # Both formats count in milliseconds.
    durations = [round(1000 / fps)] * len(rest) + [round(1000 * _LAST_FRAME_SECONDS)]
    options = {"lossless": True, "minimize_size": True} if suffix == ".webp" else {"disposal": 1}
    buffer = io.BytesIO()
    first.save(
        buffer,
        "WEBP" if suffix == ".webp" else "GIF",
        save_all=True,
        append_images=rest,
        duration=durations,
        loop=0,
        **options,
    )
    return buffer.getvalue()


def _encode_mp4(frames: Frames, fps: float) -> bytes:
    import av
    import numpy as np

    rate = Fraction(fps).limit_denominator(1000)
    # A video has one frame rate, so the last frame is repeated to stay.
    repeated = [frames[-1]] * max(0, round(_LAST_FRAME_SECONDS * fps) - 1)
    # H.264 stores colours at half resolution, which needs even sides.
    height, width = (side + side % 2 for side in frames[0].shape[:2])
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "12"})
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        for frame in [*frames, *repeated]:
            rows, columns = height - frame.shape[0], width - frame.shape[1]
            padded = np.pad(frame, ((0, rows), (0, columns), (0, 0)), mode="edge")
            container.mux(stream.encode(av.VideoFrame.from_ndarray(padded, format="rgb24")))
        # The encoder holds frames back until it is flushed.
        container.mux(stream.encode())
    return buffer.getvalue()
