"""Turn groups of options into the options of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sdcli.commands.options.parsing import (
    parse_latents,
    parse_preview,
    parse_report_format,
    parse_verbosity,
)
from sdcli.flags import (
    ImageFlags,
    LatentsFlags,
    MessageFlags,
    OutputFlags,
    PreviewFlags,
    ReportFlags,
)

if TYPE_CHECKING:
    from sdcli.runner.options import RunOptions


def build_run_options(
    output: OutputFlags,
    image: ImageFlags,
    latents: LatentsFlags,
    preview: PreviewFlags,
    report: ReportFlags,
    messages: MessageFlags,
    **more: Any,
) -> RunOptions:
    """The options of a run; `more` are further fields of RunOptions. Raises UsageError."""
    from sdcli.runner.options import RunOptions

    return RunOptions(
        out=output.out,
        force=output.force,
        tar=image.format == "tar",
        sidecar=image.sidecar,
        metadata=not image.no_metadata,
        save_latents=parse_latents(latents.save_latents, latents.latents_kinds),
        preview=parse_preview(
            preview.preview, preview.preview_out, preview.preview_vae, messages.quiet
        ),
        report=parse_report_format(report.json, report.jsonl),
        verbosity=parse_verbosity(messages.quiet, messages.verbose),
        **more,
    )
