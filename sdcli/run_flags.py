"""Options of a run on the command line, in groups; those of single images are in `request`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sdcli.archive_flags import ArchiveFlags
from sdcli.cluster_flags import ClusterFlags
from sdcli.errors import UsageError
from sdcli.field_metadata import setting


@dataclass(frozen=True, kw_only=True)
class MessageFlags:
    """How much is printed on stderr."""

    quiet: bool = setting(False, "--quiet", "-q", help="Only print errors.")
    verbose: int = setting(0, "--verbose", "-v", help="Print more detail.", counted=True)


@dataclass(frozen=True, kw_only=True)
class ReportFlags:
    """The form of what is printed on stdout."""

    json: bool = setting(False, "--json", help="Print one JSON document.")
    jsonl: bool = setting(False, "--jsonl", help="Print one JSON object per line for each event.")


@dataclass(frozen=True, kw_only=True)
class WarmFlags:
    """Which process does the work."""

    warm: bool = setting(
        False,
        "--warm",
        off_flag="--no-warm",
        help="Run in a background process that keeps the model loaded, and start it if needed.",
    )


@dataclass(frozen=True, kw_only=True)
class OutputFlags:
    """Where files are written."""

    out: str = setting(
        "outputs",
        "--out",
        "-o",
        metavar="PATH",
        help="A folder, an image file (numbered if there are several images), or - for stdout.",
    )
    force: bool = setting(False, "--force", help="Overwrite existing files.")


@dataclass(frozen=True, kw_only=True)
class SheetFlags:
    """The form of a sheet of several images."""

    scale: int = setting(
        1,
        "--scale",
        metavar="N",
        help="Enlarge the images: each pixel becomes N x N pixels.",
        minimum=1,
        maximum=16,
    )
    columns: int | None = setting(
        None,
        "--columns",
        metavar="N",
        help="Images side by side; the others continue below. Default: as many as fill a screen.",
        minimum=1,
        maximum=1000,
    )


@dataclass(frozen=True, kw_only=True)
class ImageFlags:
    """The form of image files, and what is written with them."""

    format: str | None = setting(
        None,
        "--format",
        choices=("tar",),
        help="tar: write several images to stdout (--out -) as one archive.",
    )
    sidecar: bool = setting(
        False, "--sidecar", help="Also write each record to a .json file next to its image."
    )
    no_metadata: bool = setting(
        False, "--no-metadata", help="Do not embed the record in the image."
    )
    record_paths: bool = setting(
        False, "--record-paths", help="Record the full paths of models, not only their names."
    )


@dataclass(frozen=True, kw_only=True)
class LatentsFlags:
    """Which latents are saved."""

    save_latents: str | None = setting(
        None,
        "--save-latents",
        metavar="WHICH",
        help="Save latents next to each image: final, all, every:N or steps:1,5,9.",
    )
    latents_kinds: str | None = setting(
        None,
        "--latents-kinds",
        metavar="KINDS",
        help="Which tensors to save: any of xt,x0,eps,noise. Default: all (for final: xt).",
    )


@dataclass(frozen=True, kw_only=True)
class TraceFlags:
    """Where everything about a run is written."""

    trace: str | None = setting(
        None,
        "--trace",
        metavar="DIR",
        help="Write everything about the run of one image to a folder: tokens, latents, outputs "
        "of the UNet, guidance and attention of every step.",
    )


@dataclass(frozen=True, kw_only=True)
class PreviewFlags:
    """Where images are shown while they form."""

    preview: bool = setting(
        False,
        "--preview",
        help="Show the predicted image of every step in the terminal.",
    )
    preview_out: str | None = setting(
        None,
        "--preview-out",
        metavar="FILE",
        help="Keep the latest preview in an image file that is replaced atomically.",
    )
    preview_vae: str | None = setting(
        None,
        "--preview-vae",
        metavar="VAE",
        help="VAE used for previews, e.g. tiny. Default: a fast linear approximation.",
    )


@dataclass(frozen=True, kw_only=True)
class ExpansionFlags:
    """How prompts are replaced and expanded, and how a sweep is shown."""

    replace: list[str] | None = setting(
        None,
        "--replace",
        metavar="OLD=NEW",
        help="Search and replace in prompts: cat=dog,fox makes two prompts.",
    )
    wildcards: str | None = setting(
        None,
        "--wildcards",
        metavar="DIR",
        help="Folder of word lists: color.txt fills __color__ in prompts.",
    )
    wildcard_mode: str | None = setting(
        None,
        "--wildcard-mode",
        choices=("random", "all"),
        help="Expand {a|b}, {2$$a|b|c} and __name__: random picks by seed, all makes every "
        "combination. Without this or --wildcards, braces are left in the prompt.",
    )
    grid: str | None = setting(
        None,
        "--grid",
        metavar="X,Y",
        help="Also make a labelled grid of one or two swept settings: steps,scheduler.",
    )
    grid_scale: int = setting(
        1,
        "--grid-scale",
        metavar="N",
        help="Enlarge the images of the grid: each pixel becomes N x N pixels.",
        minimum=1,
        maximum=16,
    )
    grid_columns: int | None = setting(
        None,
        "--grid-columns",
        metavar="N",
        help="Images side by side in the grid; the others continue below.",
        minimum=1,
        maximum=1000,
    )

    def sheet(self) -> SheetFlags:
        """The form of the grid. Raises UsageError for options that have no effect."""
        if self.grid is None and (self.grid_scale != 1 or self.grid_columns):
            option = "--grid-columns" if self.grid_columns else "--grid-scale"
            raise UsageError(
                f"{option} has no effect without --grid",
                code="usage.grid",
                hint="add --grid and the swept settings, as in --grid steps,scheduler",
            )
        return SheetFlags(scale=self.grid_scale, columns=self.grid_columns)


@dataclass(frozen=True, kw_only=True)
class InputFlags:
    """How prompts are separated."""

    null: bool = setting(
        False,
        "--null",
        "-0",
        help="Prompts on stdin or in text files end with NUL, as find -print0 writes them, "
        "instead of a line end.",
    )


@dataclass(frozen=True, kw_only=True)
class BatchFlags:
    """How a prompt file is read, and which of its jobs are run."""

    input_format: str | None = setting(
        None,
        "--input-format",
        choices=("txt", "csv", "tsv", "jsonl", "json", "yaml", "toml"),
        help="Input format, if the file name does not tell.",
    )
    prompt_column: str | None = setting(
        None,
        "--prompt-column",
        metavar="NAME",
        help="Column or key that has the prompts, if it is not named prompt.",
    )
    extra: str | None = setting(
        None,
        "--extra",
        choices=("keep", "ignore"),
        help="Columns or keys that are no settings: keep copies them to the record and to JSON "
        "output, ignore drops them. Default: report them as errors.",
    )
    name_template: str | None = setting(
        None,
        "--name-template",
        metavar="TEXT",
        help="Names of the image files, as in '{sku}-{seed}': any setting, any column kept by "
        "--extra, {index}, {file}, {line}.",
    )
    limit: int | None = setting(
        None, "--limit", metavar="N", help="Generate only the first N images.", minimum=1
    )
    list_done: bool = setting(
        False, "--list-done", help="Also print the images that were already done."
    )
    keep_going: bool = setting(
        False, "--keep-going", help="Skip invalid entries and exit with code 9."
    )
    dry_run: bool = setting(
        False,
        "--dry-run",
        help="Print a summary of what would be generated, and stop; with -v, each image.",
    )
    as_input: bool = setting(
        False,
        "--as-input",
        help="Of a batch of images: start from each image itself, as --image does.",
    )
    redo: bool = setting(False, "--redo", help="Regenerate images that are already done.")
    retry_failed: bool = setting(False, "--retry-failed", help="Retry jobs that failed before.")

    def rerun(self) -> Literal["failed", "all"] | None:
        """Which recorded jobs are run again. Raises UsageError."""
        if self.redo and self.retry_failed:
            raise UsageError(
                "--redo and --retry-failed can't be used together",
                code="usage.redo",
                hint="--redo includes the failed jobs",
            )
        return "all" if self.redo else "failed" if self.retry_failed else None


RUN_FLAGS = (
    MessageFlags, WarmFlags, ReportFlags, OutputFlags, ImageFlags, LatentsFlags, TraceFlags,
    PreviewFlags, ExpansionFlags, InputFlags, BatchFlags, ArchiveFlags, ClusterFlags,
)  # fmt: skip
"""The groups whose options belong to a whole run: no row of a prompt file can set them."""
