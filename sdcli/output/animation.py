"""Pictures in a row to the bytes of a moving one."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sdcli.errors import OutputError, UsageError
from sdcli.output import files

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SUFFIXES = (".gif", ".webp")


def check(out: str, *, force: bool) -> Path:
    """The file to write, or the folder for one; fails now rather than after the work.

    Raises UsageError for a format that is not written, OutputError when it exists or cannot be.
    """
    path = Path(out).expanduser()
    if path.suffix.lower() in (".mp4", ".mov", ".webm", ".mkv", ".avi"):
        raise UsageError(
            f"--out {out}: {path.suffix} is not written, for want of a small library that does it",
            code="usage.out",
            hint=f"write {path.stem}.gif, then ffmpeg -i {path.stem}.gif {path.name}",
        )
    if path.suffix and path.suffix.lower() not in SUFFIXES and not path.is_dir():
        raise UsageError(
            f"--out {out}: {path.suffix} does not move",
            code="usage.out",
            hint=f"one of {', '.join(SUFFIXES)}, or a folder",
        )
    if path.suffix and not path.is_dir():
        files.prepare(path.parent)
        if path.exists() and not force:
            raise OutputError(
                f"{path} exists", code="output.exists", hint="choose another name, or add --force"
            )
    else:
        files.prepare(path)
    return path


def write(
    frames: Sequence[NDArray[np.uint8]], path: Path, name: str, *, fps: float, force: bool
) -> str:
    """Write the frames (height, width, 3), all of one size; the last is held for a second.

    GIF has 256 colours a frame, WebP keeps every pixel. Raises OutputError.
    """
    suffix = path.suffix.lower() if path.suffix and not path.is_dir() else ".gif"
    data = _encode(frames, suffix, fps)
    if path.is_dir():
        return str(files.write_numbered(path, "", f"-{name}{suffix}", data))
    files.write(path, data, force=force)
    return str(path)


def _encode(frames: Sequence[NDArray[np.uint8]], suffix: str, fps: float) -> bytes:
    from PIL import Image

    first, *rest = [Image.fromarray(frame) for frame in frames]
    durations = [round(1000 / fps)] * len(rest) + [1000]
    buffer = io.BytesIO()
    extra = {"lossless": True, "minimize_size": True} if suffix == ".webp" else {"disposal": 1}
    kind = "WEBP" if suffix == ".webp" else "GIF"
    first.save(buffer, kind, save_all=True, append_images=rest, duration=durations, loop=0, **extra)
    return buffer.getvalue()
