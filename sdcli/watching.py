"""What was asked of seeing pictures while they form."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PreviewOptions:
    """Where previews are shown: in the terminal, in a file, or both; at least one.

    `vae` is one to look through; None takes the linear map of latents to colours.
    """

    terminal: bool = False
    out: str | None = None
    vae: str | None = None
