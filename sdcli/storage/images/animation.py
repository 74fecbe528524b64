"""Pictures in a row to the bytes of a moving one."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from sdcli.errors import OutputError, UsageError
from sdcli.storage import files

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SUFFIXES = (".gif", ".webp", ".mp4")
_LINGER = 1.0
"""Seconds for which the last frame stays."""


def is_animation(out: str) -> bool:
    """Whether `--out` names an animation rather than an image or a folder."""
    return Path(out).suffix.lower() in SUFFIXES


def prepare_animation(out: str, *, force: bool) -> Path:
    """The file to write, or the folder for one; fails now rather than after the work.

    Raises UsageError for a format that is not written, OutputError when it exists or cannot be.
    """
    path = Path(out).expanduser()
    if out == files.STDOUT:
        raise UsageError(
            "--out -: an animation goes to a file", code="usage.out", hint="as in -o cat.webp"
        )
    if path.suffix.lower() == ".mp4" and find_spec("av") is None:
        raise UsageError(
            f"--out {out}: .mp4 needs the package av",
            code="usage.out",
            hint="pip install av, or write a .webp",
        )
    if path.suffix and path.suffix.lower() not in SUFFIXES and not path.is_dir():
        raise UsageError(
            f"--out {out}: {path.suffix} does not move",
            code="usage.out",
            hint=f"one of {', '.join(SUFFIXES)}, or a folder",
        )
    if path.suffix and not path.is_dir():
        files.prepare_folder(path.parent)
        if path.exists() and not force:
            raise OutputError(
                f"{path} exists", code="output.exists", hint="choose another name, or add --force"
            )
    else:
        files.prepare_folder(path)
    return path


def write_animation(
    frames: Sequence[NDArray[np.uint8]], path: Path, name: str, *, fps: float, force: bool
) -> str:
    """Write the frames (height, width, 3), all of one size; the last is held for a second.

    GIF has 256 colours a frame, WebP keeps every pixel, MP4 is H.264. Raises OutputError.
    """
    suffix = path.suffix.lower() if path.suffix and not path.is_dir() else ".gif"
    data = _encode(frames, suffix, fps)
    if path.is_dir():
        return str(files.write_numbered(path, "", f"-{name}{suffix}", data))
    files.write_atomic(path, data, force=force)
    return str(path)


def _encode(frames: Sequence[NDArray[np.uint8]], suffix: str, fps: float) -> bytes:
    if suffix == ".mp4":
        return _mp4(frames, fps)
    from PIL import Image

    first, *rest = [Image.fromarray(frame) for frame in frames]
    durations = [round(1000 / fps)] * len(rest) + [round(1000 * _LINGER)]
    buffer = io.BytesIO()
    extra = {"lossless": True, "minimize_size": True} if suffix == ".webp" else {"disposal": 1}
    kind = "WEBP" if suffix == ".webp" else "GIF"
    first.save(buffer, kind, save_all=True, append_images=rest, duration=durations, loop=0, **extra)
    return buffer.getvalue()


def _mp4(frames: Sequence[NDArray[np.uint8]], fps: float) -> bytes:
    import av
    import numpy as np

    rate = Fraction(fps).limit_denominator(1000)
    lingering = [frames[-1]] * max(0, round(_LINGER * fps) - 1)
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "12"})
        height, width = (side + side % 2 for side in frames[0].shape[:2])
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        for frame in [*frames, *lingering]:
            # H.264 halves the colours' resolution: sides must be even.
            rows, columns = height - frame.shape[0], width - frame.shape[1]
            whole = np.pad(frame, ((0, rows), (0, columns), (0, 0)), mode="edge")
            container.mux(stream.encode(av.VideoFrame.from_ndarray(whole, format="rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()
