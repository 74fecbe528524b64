"""Parse the values of options."""

from __future__ import annotations

import re
import sys

from sdcli.errors import UsageError, quoted
from sdcli.inputs import sizes
from sdcli.latents import LatentsSelection
from sdcli.name_template import NameTemplate
from sdcli.pipeline_spec import DTYPES, SHORT_DTYPES
from sdcli.prompts.formats import NUL_SEPARATED
from sdcli.runner.options import PreviewOptions, ReportForm


def parse_size(text: str | None) -> tuple[int | None, int | None]:
    """Parse "512x768" to (width, height); (None, None) if left out. Raises UsageError."""
    if text is None:
        return None, None
    size = sizes.parse_size(text)
    if size is None:
        raise UsageError(
            f"--size: {quoted(text)} is not WIDTHxHEIGHT",
            code="usage.size",
            hint="e.g. --size 512x768",
        )
    return size


def parse_batch_size(text: str) -> int | None:
    """Parse --batch-size: None for "auto", else a whole number from 1. Raises UsageError."""
    if text == "auto":
        return None
    if not re.fullmatch(r"0{0,9}[1-9][0-9]{0,8}", text):
        raise UsageError(
            f"--batch-size: {quoted(text)} is not auto or a whole number above 0",
            code="usage.batch_size",
        )
    return int(text)


def parse_dtype(text: str | None) -> str | None:
    """Return a dtype's long name; fp16, bf16 and fp32 are accepted. Raises UsageError."""
    dtype = SHORT_DTYPES.get(text, text) if text else text
    if dtype == "auto":
        return None
    if dtype is not None and dtype not in DTYPES:
        raise UsageError(
            f"--dtype: {quoted(text)} is not one of auto, {', '.join(DTYPES)}", code="usage.dtype"
        )
    return dtype


def parse_latents(which: str | None, kinds: str | None) -> LatentsSelection | None:
    """Parse --save-latents and --latents-kinds. Raises UsageError."""
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
    """Parse --preview, --preview-out and --preview-vae.

    Raises UsageError for a preview that could not be seen.
    """
    if terminal and (quiet or not sys.stderr.isatty()):
        reason = "can't be used with --quiet" if quiet else "needs a terminal"
        raise UsageError(f"--preview {reason}", code="usage.preview", hint="use --preview-out FILE")
    if terminal or out is not None:
        return PreviewOptions(terminal=terminal, out=out, vae=vae)
    if vae is not None:
        raise UsageError(
            "--preview-vae does nothing without --preview",
            code="usage.preview",
            hint="add --preview",
        )
    return None


def parse_input_format(name: str | None, *, null: bool) -> str | None:
    """The format of --input-format and --null, None for that of each file. Raises UsageError."""
    if not null:
        return name
    if name not in (None, "txt"):
        raise UsageError(
            f"--null can't be used with --input-format {name}",
            code="usage.null",
            hint="only prompts in text can end with NUL: use --input-format txt",
        )
    return NUL_SEPARATED


def parse_report_format(json: bool, jsonl: bool) -> ReportForm:
    """The form of stdout. Raises UsageError."""
    if json and jsonl:
        raise UsageError("--json and --jsonl can't be used together", code="usage.json")
    return "json" if json else "jsonl" if jsonl else "paths"


def parse_name_template(text: str | None, *, out: str, tar: bool) -> NameTemplate | None:
    """Parse --name-template. Raises UsageError, also for an output without file names."""
    if text is not None and out == "-" and not tar:
        raise UsageError(
            "--name-template: an image on stdout has no name",
            code="usage.name_template",
            hint="give --out a folder, or add --format tar",
        )
    return None if text is None else NameTemplate.parse(text)


def parse_verbosity(quiet: bool, verbose: int) -> int:
    """-1 for --quiet, else the number of -v. Raises UsageError."""
    if quiet and verbose:
        raise UsageError("--quiet and --verbose can't be used together", code="usage.quiet")
    return -1 if quiet else verbose
