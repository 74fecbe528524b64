"""Compare a regenerated image with the recorded one, and list what has changed since."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sdcli.result import GenerationResult
from sdcli.storage.images.codec import encode_image
from sdcli.storage.images.opening import open_image
from sdcli.storage.metadata.record import pixels_sha256
from sdcli.storage.metadata.recorded_inputs import inputs_of
from sdcli.versions import backend_versions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CLOSE_PSNR_DB: Final = 40.0
"""PSNR in dB above which two images are visually indistinguishable."""


def verify_image(
    path: Path, document: Mapping[str, Any], result: GenerationResult, versions: Mapping[str, str]
) -> dict[str, Any]:
    """Compare an image file with the result of regenerating it.

    `document` is what `read_image_info` returned for the file. The "verdict" is "identical" (every
    pixel, and the recorded hash), "close" (at least `CLOSE_PSNR_DB`) or "different".
    """
    record = document["record"]
    recorded_hash = record.get("pixels", {}).get("sha256")
    is_recorded = pixels_sha256(result.pixels) == recorded_hash
    difference = _measure(_read_file(path), _after_encoding(result.pixels, path.suffix.lower()))
    altered = _is_lossless(path) and document["pixels_sha256"] != recorded_hash
    is_equal = difference["max_difference"] == 0
    if is_equal and (is_recorded or not recorded_hash):
        verdict = "identical"
    else:
        # An edit of a few pixels keeps the PSNR high, but it is still another image.
        is_close = difference["psnr"] is None or (
            difference["psnr"] >= CLOSE_PSNR_DB and not altered
        )
        verdict = "close" if is_equal or is_close else "different"
    return {
        "path": str(path),
        "verdict": verdict,
        **difference,
        "altered": altered,
        "differences": environment_changes(record, result, versions),
    }


def environment_changes(
    record: Mapping[str, Any], result: GenerationResult, versions: Mapping[str, str]
) -> dict[str, list[Any]]:
    """Return settings that changed since the image was made, as name: [recorded, current]."""
    versions = {**versions, **backend_versions(result.job.spec.backend)}
    current: dict[str, Any] = {
        "device": result.run.device,
        "dtype": result.run.dtype,
        "batch_size": result.run.batch_size,
        "compiled": result.run.compiled,
        **{f"version of {name}": value for name, value in versions.items()},
        **{f"weights of {name}": value for name, value in result.weights.items()},
        **{f"input {name}": value for name, value in inputs_of(result.job).items()},
    }
    recorded: dict[str, Any] = {
        name: record.get(name) for name in ("device", "dtype", "batch_size")
    }
    recorded["compiled"] = bool(record.get("compiled"))
    for prefix, key in (("version of", "versions"), ("weights of", "weights"), ("input", "inputs")):
        values = record.get(key)
        entries = values.items() if isinstance(values, Mapping) else ()
        recorded |= {f"{prefix} {name}": value for name, value in entries}
    return {
        name: [recorded.get(name), current.get(name)]
        for name in sorted({*current, *recorded})
        if recorded.get(name) != current.get(name)
    }


def _is_lossless(path: Path) -> bool:
    return path.suffix.lower() in (".png", ".webp")


def _read_file(path: Path) -> NDArray[np.uint8]:
    import numpy as np

    with open_image(path) as image:
        return np.asarray(image.convert("RGB"))


def _after_encoding(pixels: NDArray[np.uint8], suffix: str) -> NDArray[np.uint8]:
    """The pixels as the file format returns them, so that JPEG's loss doesn't count."""
    import numpy as np
    from PIL import Image

    with Image.open(io.BytesIO(encode_image(pixels, suffix, None))) as image:
        return np.asarray(image.convert("RGB"))


def _measure(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> dict[str, Any]:
    """PSNR in dB (None if equal), the largest difference of a value, the share of changed pixels.

    Images of different sizes get the worst values.
    """
    import numpy as np

    from sdcli.numerics.metrics import psnr

    if left.shape != right.shape:
        return {"psnr": 0.0, "max_difference": 255, "moved": 1.0}
    # Differences of uint8 would wrap around.
    gap = np.abs(left.astype(np.int16) - right.astype(np.int16))
    decibels = psnr(left, right)
    return {
        "psnr": round(decibels, 2) if math.isfinite(decibels) else None,
        "max_difference": int(gap.max()),
        "moved": round(float(gap.any(axis=-1).mean()), 6),
    }
