"""Know the published files of Stable Diffusion 2, which do not say what they predict."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

from sdcli.checkpoints.file_hashes import known_sha256, sha256
from sdcli.checkpoints.single_file.detection import Detection
from sdcli.checkpoints.single_file.training import Prediction

_V: Final = (
    "v_prediction",
    "the file is the published Stable Diffusion 2, 768 pixels, by its hash",
)
_EPSILON: Final = ("epsilon", "the file is the published Stable Diffusion 2 base, by its hash")
_PUBLISHED: Final = {
    "703d49a1d847b218c5c230fce80ba1f73f848bc3afc06e48e727ee47fdf06b1f": _V,
    "dcd690123cfc64383981a31d955694f6acf2072a80537fdb612c8e58ec87a8ac": _V,
    "4711ff4dd270067f71d5ea0725e83e4dc7c41f586a588531ee1c3bd549e9119d": _V,
    "ff144a49841cf383adbc68841272ce639e1032b0a1f0f6586347feb953c244f4": _V,
    "ab800444cdd1e6ade2236874dd28db9608d1d740aaf6087c7273884140612993": _EPSILON,
    "df955bdf6b682338ea9b55dfc0d8f3475aadf4836e204893d28b82355e0956d2": _EPSILON,
    "34dccb9e60d83a4ef963f51e9ff63548323a70024f8679095956d7c403b3ef4a": _EPSILON,
    "fc4f9fe7528b2ee3de21971fb805bbf74d680bf1ab5b5f9c08379b0397b82a9d": _EPSILON,
}
"""The prediction type of each file, by its SHA-256, and the reason."""

_MIN_BYTES: Final = 5_000_000_000
"""All of them are in float32. Others are not read for their hash."""


def identify(detection: Detection, path: Path, *, reads: bool) -> Detection:
    """Return the detection of a file with the prediction type that its hash tells.

    A type that the file itself says stays. Without `reads`, only a hash that is known already
    counts.
    """
    prediction, family = detection.prediction, detection.family
    if not prediction or prediction.certainty != "guessed" or not family or family.id != "sd2":
        return detection
    if path.stat().st_size < _MIN_BYTES:
        return detection
    known = _PUBLISHED.get((sha256 if reads else known_sha256)(path) or "")
    if not known:
        return detection
    stated = Prediction(type=known[0], certainty="stated", reason=known[1])
    return replace(detection, prediction=stated)
