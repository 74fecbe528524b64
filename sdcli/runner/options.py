"""Options of a run: where images go, what is written with them, and how it is reported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from sdcli.latents import LatentsSelection
from sdcli.prompts.wildcards import Wildcards
from sdcli.result import GenerationResult

ReportForm = Literal["paths", "json", "jsonl"]
Rerun = Literal["failed", "all"]


@dataclass(frozen=True, kw_only=True)
class PreviewOptions:
    """Where previews are shown: in the terminal, in a file, or both; at least one.

    `vae` is one to look through; None takes the linear map of latents to colours.
    """

    terminal: bool = False
    out: str | None = None
    vae: str | None = None


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Where images go and what goes with them; `images` is how many come, None for a stream.

    With `journal` what is done already is not made again, except what `again` names. `archive`
    lets stdout ("-") be a tar of several images. `observe` is shown every result once its file is
    written, `watching` says where steps are to be seen,
    and `wildcards` fill the prompts that wait for their seed.
    """

    out: str
    expected_images: int | None
    force: bool = False
    metadata: bool = True
    sidecar: bool = False
    save_latents: LatentsSelection | None = None
    report: ReportForm = "paths"
    verbosity: int = 0
    tar: bool = False
    journal: bool = False
    rerun: Rerun | None = None
    on_result: Callable[[GenerationResult], None] | None = None
    preview: PreviewOptions | None = None
    wildcards: Wildcards | None = None
