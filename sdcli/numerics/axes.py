"""Choose round values for the axes of plots."""

from __future__ import annotations

import math
from typing import Final

_EQUAL: Final = 1e-6


def nice_levels(low: float, high: float, most: int = 6) -> tuple[float, ...]:
    """Return up to about `most` round values, evenly spaced, from at most `low` to at least `high`.

    There are at least two. Both limits are finite; differences below a millionth do not count.
    """
    span, size = high - low, max(abs(low), abs(high))
    if span < _EQUAL * size or span < _EQUAL:
        span = size if size > _EQUAL else 1.0
    power = 10.0 ** math.floor(math.log10(span / most))
    step = next(f * power for f in (1, 2, 5, 10) if f * power * most >= span)
    first, last = math.floor(low / step), math.ceil(high / step)
    last = max(last, first + 1)
    # Multiples of whole numbers: sums of fractions would gather rounding errors.
    return tuple(round(n * step, 12) for n in range(first, last + 1))
