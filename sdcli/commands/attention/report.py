"""Report measured attention: the shares of words, and warnings about words without true maps."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from sdcli.terminal.printing import print_document, print_path

if TYPE_CHECKING:
    from sdcli.terminal.console import Console
    from sdcli.workflows.measure_attention import MeasuredImage


def report(
    measured: MeasuredImage, paths: list[str], console: Console, *, json: bool, quiet: bool
) -> None:
    """Print the paths on stdout and the shares on stderr, or everything as one JSON document."""
    if measured.attention is not None:
        _warn_about_kinds(measured, console)
    if json:
        print_document(_document(measured, paths), json)
        return
    if not quiet:
        _print_shares(measured)
    for path in paths:
        print_path(path, json=False)


def _warn_about_kinds(measured: MeasuredImage, console: Console) -> None:
    """Say which of the shown words have maps that are not true."""
    words = [shown.word for shown in measured.words if shown.word.kind]
    if not words:
        return
    names = ", ".join(dict.fromkeys(word.text for word in words))
    kinds = " and ".join(dict.fromkeys(str(word.kind) for word in words))
    console.warn(
        f"{names}: the attention of a {kinds} word does not show where it has its effect, because "
        "the text encoder moves its meaning into the word that it describes; use --causal"
    )


def _document(measured: MeasuredImage, paths: list[str]) -> dict[str, Any]:
    from sdcli.workflows.draw_attention import word_documents
    from sdcli.workflows.measure_attention import SCHEMA

    job, maps = measured.result.job, measured.attention
    return {
        "schema": SCHEMA,
        "paths": paths,
        "prompt": job.prompt,
        "seed": job.seed,
        "width": job.width,
        "height": job.height,
        "pixels_sha256": measured.pixels_sha256,
        "causal": maps is None,
        "shares": None if maps is None else {k: round(v, 6) for k, v in maps.shares.items()},
        "layers": None if maps is None else dict(maps.layers),
        "words": word_documents(measured.words, job.width, job.height),
    }


def _print_shares(measured: MeasuredImage) -> None:
    """Print the share of each word on stderr, as stdout has the paths."""
    from sdcli.story import percent
    from sdcli.terminal.tables import print_columns, print_lines, wrap_text

    job, maps = measured.result.job, measured.attention
    share = "moves the prediction by" if maps is None else "share"
    header = ["word", *(["replaced by"] if maps is None else []), share, "peak at"]
    rows = []
    for shown in measured.words:
        x, y = shown.peak(job.width, job.height)
        others = [", ".join(shown.replacements)] if maps is None else []
        rows.append([shown.word.text, *others, percent(shown.share), f"{x},{y}"])
    if rows:
        print_columns(header, rows, sys.stderr)
    if maps is not None:
        parts = ", ".join(f"{name} {percent(part)}" for name, part in maps.shares.items())
        print_lines(wrap_text(f"attention to the tokens: {parts}"), sys.stderr)
