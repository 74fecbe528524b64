"""What the words of options mean, where that is more than a word or a number."""

from __future__ import annotations

import re
import sys
from typing import Literal

from sdcli.commands.options.flags import ReportForm
from sdcli.errors import UsageError
from sdcli.latents import LatentsSelection
from sdcli.request import DTYPES, SHORT_DTYPES, PipelineSpec
from sdcli.runner.options import PreviewOptions


def parse_size(text: str | None) -> tuple[int | None, int | None]:
    """ "512x768" to (width, height)."""
    if text is None:
        return None, None
    if not (match := re.fullmatch(r"(\d+)[x×X](\d+)", text.strip())):
        raise UsageError(
            f"--size: {text!r} is not WIDTHxHEIGHT", code="usage.size", hint="as in --size 512x768"
        )
    return int(match[1]), int(match[2])


def parse_batch_size(text: str) -> int | None:
    """ "auto" to None, else a whole number of at least 1."""
    if text == "auto":
        return None
    if not (text.isascii() and text.isdigit() and int(text) >= 1):
        raise UsageError(
            f"--batch-size: {text!r} is neither a whole number above 0 nor auto",
            code="usage.batch_size",
        )
    return int(text)


def parse_dtype(text: str | None) -> str | None:
    """A dtype's long name; fp16, bf16 and fp32 are understood."""
    dtype = SHORT_DTYPES.get(text, text) if text else text
    if dtype is not None and dtype not in DTYPES:
        raise UsageError(f"--dtype: {text!r} is not one of {', '.join(DTYPES)}", code="usage.dtype")
    return dtype


def build_pipeline_spec(
    model: str,
    vae: str | None,
    variant: str | None,
    dtype: str | None,
    device: str,
    offline: bool,
    force_vae: bool = False,
) -> PipelineSpec:
    """What the options of a pipeline ask to load."""
    return PipelineSpec(
        model=model,
        vae=vae,
        variant=variant,
        dtype=parse_dtype(dtype),
        device=device,
        offline=offline,
        force_vae=force_vae,
    )


def parse_latents(which: str | None, kinds: str | None) -> LatentsSelection | None:
    """--save-latents and --latents-kinds. Raises UsageError."""
    if which is None and kinds is not None:
        raise UsageError(
            "--latents-kinds does nothing without --save-latents",
            code="usage.latents_kinds",
            hint="add --save-latents all",
        )
    return None if which is None else LatentsSelection.parse(which, kinds)


def parse_preview(
    terminal: bool, out: str | None, vae: str | None, quiet: bool
) -> PreviewOptions | None:
    """--preview, --preview-out and --preview-vae. Raises UsageError for what could not be seen."""
    if terminal and (quiet or not sys.stderr.isatty()):
        why = "--quiet leaves stderr empty" if quiet else "stderr is no terminal"
        raise UsageError(
            f"--preview: {why}", code="usage.preview", hint="use --preview-out now.png"
        )
    if terminal or out is not None:
        return PreviewOptions(terminal=terminal, out=out, vae=vae)
    if vae is not None:
        raise UsageError(
            "--preview-vae does nothing alone", code="usage.preview", hint="add --preview"
        )
    return None


def parse_report_format(json: bool, jsonl: bool) -> ReportForm:
    """What stdout is to carry."""
    if json and jsonl:
        raise UsageError("--json and --jsonl exclude each other", code="usage.json")
    return "json" if json else "jsonl" if jsonl else "paths"


def parse_rerun(redo: bool, retry_failed: bool) -> Literal["failed", "all"] | None:
    """Which jobs of a batch are made though the journal has them. Raises UsageError."""
    if redo and retry_failed:
        raise UsageError(
            "--redo makes everything again, what --retry-failed would too",
            code="usage.redo",
            hint="say one of them",
        )
    return "all" if redo else "failed" if retry_failed else None


def parse_verbosity(quiet: bool, verbose: int) -> int:
    """-1 for quiet, else how often -v was said."""
    if quiet and verbose:
        raise UsageError("--quiet and --verbose contradict each other", code="usage.quiet")
    return -1 if quiet else verbose
