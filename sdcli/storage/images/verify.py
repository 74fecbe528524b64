"""A picture made again beside the recorded one: how near it is, and what has changed since."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sdcli.result import GenerationResult
from sdcli.storage.images.codec import encode_image
from sdcli.storage.metadata.record import pixels_sha256

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CLOSE_PSNR_DB: Final = 40.0
"""PSNR in dB from which two pictures are close: no eye tells them apart."""


def verify_image(
    path: Path, document: Mapping[str, Any], result: GenerationResult, versions: Mapping[str, str]
) -> dict[str, Any]:
    """What `--check` says of one image; `document` is what `encode.read` read from it.

    "verdict" is identical (SHA-256 of the pixels), close (`CLOSE`) or different. Identical needs
    the file's own pixels, too: one that was edited after it was recorded is not close by PSNR.
    """
    record = document["record"]
    recorded = record.get("pixels", {}).get("sha256")
    same_as_record = pixels_sha256(result.pixels) == recorded
    facts = _measures(_decoded(path), _as_written(result.pixels, path.suffix.lower()))
    altered = _is_lossless(path) and document["pixels_sha256"] != recorded
    whole = facts["max_difference"] == 0
    if whole and (same_as_record or not recorded):
        verdict = "identical"
    else:
        close = facts["psnr"] is None or (facts["psnr"] >= CLOSE_PSNR_DB and not altered)
        verdict = "close" if whole or close else "different"
    return {
        "path": str(path),
        "verdict": verdict,
        **facts,
        "altered": altered,
        "differences": environment_changes(record, result, versions),
    }


def environment_changes(
    record: Mapping[str, Any], result: GenerationResult, versions: Mapping[str, str]
) -> dict[str, list[Any]]:
    """What was otherwise when the image was made: name -> [recorded, now]."""
    now: dict[str, Any] = {
        "device": result.run.device,
        "dtype": result.run.dtype,
        "batch_size": result.run.batch_size,
        **{f"version of {name}": value for name, value in versions.items()},
        **{f"weights of {name}": value for name, value in result.weights.items()},
    }
    then: dict[str, Any] = {name: record.get(name) for name in ("device", "dtype", "batch_size")}
    for kind, facts in (("version of", "versions"), ("weights of", "weights")):
        found = record.get(facts)
        named = found.items() if isinstance(found, Mapping) else ()
        then |= {f"{kind} {name}": value for name, value in named}
    names = sorted({*now, *then})
    return {n: [then.get(n), now.get(n)] for n in names if then.get(n) != now.get(n)}


def _is_lossless(path: Path) -> bool:
    return path.suffix.lower() in (".png", ".webp")


def _decoded(path: Path | io.BytesIO) -> NDArray[np.uint8]:
    import numpy as np
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def _as_written(pixels: NDArray[np.uint8], suffix: str) -> NDArray[np.uint8]:
    """The pixels as that format gives them back: JPEG loses some."""
    return _decoded(io.BytesIO(encode_image(pixels, suffix, None)))


def _measures(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> dict[str, Any]:
    """PSNR in dB (None when equal), largest difference in levels of 255, share of moved pixels."""
    import numpy as np

    if left.shape != right.shape:
        return {"psnr": 0.0, "max_difference": 255, "moved": 1.0}
    gap = np.abs(left.astype(np.int16) - right.astype(np.int16))
    mean = float(np.square(gap.astype(np.float64)).mean())
    return {
        "psnr": round(10 * math.log10(255**2 / mean), 2) if mean else None,
        "max_difference": int(gap.max()),
        "moved": round(float(gap.any(axis=-1).mean()), 6),
    }
