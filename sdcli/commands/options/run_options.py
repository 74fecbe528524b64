"""Turn groups of options into the options of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sdcli.commands.options.parsing import (
    parse_latents,
    parse_preview,
    parse_report_format,
    parse_verbosity,
)
from sdcli.run_flags import (
    ImageFlags,
    LatentsFlags,
    MessageFlags,
    OutputFlags,
    PreviewFlags,
    ReportFlags,
)

if TYPE_CHECKING:
    from sdcli.runner.options import RunOptions


@dataclass(frozen=True, kw_only=True)
class RunFlags:
    """The options of a run that `generate` and `batch` share."""

    output: OutputFlags
    image: ImageFlags
    latents: LatentsFlags
    preview: PreviewFlags
    report: ReportFlags
    messages: MessageFlags

    def options(self, **more: Any) -> RunOptions:
        """The options of a run; `more` are further fields of RunOptions. Raises UsageError."""
        from sdcli.runner.options import RunOptions

        preview, messages = self.preview, self.messages
        return RunOptions(
            out=self.output.out,
            force=self.output.force,
            tar=self.image.format == "tar",
            sidecar=self.image.sidecar,
            metadata=not self.image.no_metadata,
            record_paths=self.image.record_paths,
            save_latents=parse_latents(self.latents.save_latents, self.latents.latents_kinds),
            preview=parse_preview(
                preview.preview, preview.preview_out, preview.preview_vae, messages.quiet
            ),
            report=parse_report_format(self.report.json, self.report.jsonl),
            verbosity=parse_verbosity(messages.quiet, messages.verbose),
            **more,
        )
