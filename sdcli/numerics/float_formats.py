"""Convert arrays of floating-point numbers between the formats of weights, as PyTorch does."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sdcli.numerics.float_names import FLOATS

_BF16_NAN: Final = 0x7FC0


def convert_floats(data: bytes, source: str, target: str) -> tuple[bytes, int]:
    """Return the numbers in the other format, and how many became infinite by that.

    Rounds to the nearest number, ties to even.
    """
    if source == target:
        return data, 0
    numbers = to_float32(np.frombuffer(data, FLOATS[source]), source)
    converted = _from_float32(numbers, target)
    infinite = np.isinf(to_float32(converted, target)) & np.isfinite(numbers)
    return converted.tobytes(), int(infinite.sum())


def to_float32(array: NDArray[Any], source: str) -> NDArray[np.float32]:
    """Return numbers, or the bytes of bfloat16, in single precision, at most infinity."""
    if source == "BF16":
        return (array.astype("<u4") << 16).view("<f4")
    with np.errstate(over="ignore"):
        return array.astype("<f4")


def _from_float32(numbers: NDArray[np.float32], target: str) -> NDArray[Any]:
    if target != "BF16":
        with np.errstate(over="ignore"):
            return numbers.astype(FLOATS[target])
    bits = numbers.view("<u4").astype("<u8")
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(numbers), _BF16_NAN, rounded).astype("<u2")
