"""Describe the field of requests and jobs that turns FreeU on, and how it is written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sdcli.errors import UsageError, quoted
from sdcli.field_metadata import setting
from sdcli.field_validation import check_text

FREEU_NAMES: Final = ("s1", "s2", "b1", "b2")
"""The factors in the order of Diffusers' `enable_freeu`."""

_NONE: Final = "none"
_LARGEST: Final = 10
_NUMBER: Final = re.compile(r"\d{1,2}(?:\.\d{1,6})?|\.\d{1,6}")
_EXAMPLE: Final = "s1=0.9,s2=0.2,b1=1.5,b2=1.6"


@dataclass(frozen=True, kw_only=True)
class FreeuRequestField:
    """The factors of FreeU as text: "s1=0.9,s2=0.2,b1=1.5,b2=1.6", or the numbers alone."""

    freeu: str | None = setting(
        None,
        "--freeu",
        metavar="S1,S2,B1,B2",
        help="FreeU: weaken the skip connections by s1 and s2, and strengthen the backbone by b1 "
        f"and b2. Also with names, in any order: {_EXAMPLE}, Diffusers' values for SD 1.5. none "
        "turns it off.",
    )

    def check_freeu(self) -> None:
        """Raise UsageError for text that has not the four factors."""
        check_text("freeu", self.freeu, optional=True)
        parse_freeu(self.freeu)


@dataclass(frozen=True, kw_only=True)
class FreeuJobField:
    """The factors of FreeU with their names, None without it."""

    freeu: str | None = None


def parse_freeu(text: str | None) -> Mapping[str, float] | None:
    """Return the factors by their names, None without FreeU. Raises UsageError."""
    if text is None or text.strip().lower() == _NONE:
        return None
    parts = [part.strip() for part in text.split(",")]
    if any("=" in part for part in parts):
        pairs = [part.partition("=") for part in parts]
        written = [(name.strip().lower(), value.strip()) for name, _, value in pairs]
    else:
        written = list(zip(FREEU_NAMES, parts, strict=False)) if len(parts) == 4 else []
    if sorted(name for name, _ in written) != sorted(FREEU_NAMES):
        raise _freeu_error(text, "has not one value for each of s1, s2, b1 and b2")
    values = {name: _factor(text, value) for name, value in written}
    if "=" not in text:
        _check_order(text, values)
    return {name: values[name] for name in FREEU_NAMES}


def name_freeu(text: str | None) -> str | None:
    """Write the factors with their names, in one spelling for all that mean the same."""
    factors = parse_freeu(text)
    if factors is None:
        return None
    return ",".join(f"{name}={value:.10g}" for name, value in factors.items())


def _factor(text: str, written: str) -> float:
    value = float(written) if _NUMBER.fullmatch(written) else -1.0
    # Diffusers takes a factor of 0 as FreeU turned off.
    if not 0 < value <= _LARGEST:
        raise _freeu_error(text, f"has a factor {written!r} that is not above 0, up to {_LARGEST}")
    return value


def _check_order(text: str, values: Mapping[str, float]) -> None:
    """Raise UsageError for numbers without names that look like the order of other programs."""
    if min(values["s1"], values["s2"]) > 1 > max(values["b1"], values["b2"]):
        numbers = list(values.values())
        named = ",".join(
            f"{name}={value:g}"
            for name, value in zip(("b1", "b2", "s1", "s2"), numbers, strict=True)
        )
        raise _freeu_error(
            text,
            "looks like b1,b2,s1,s2; without names the order is that of Diffusers, s1,s2,b1,b2",
            f"write {named}",
        )


def _freeu_error(text: str, reason: str, hint: str = f"e.g. --freeu {_EXAMPLE}") -> UsageError:
    return UsageError(f"freeu: {quoted(text)} {reason}", code="usage.freeu", hint=hint)
