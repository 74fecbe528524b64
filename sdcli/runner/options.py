"""Define the options of a run: where images go, what is written with them, and the report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from sdcli.job import Rerun
from sdcli.latents import LatentsSelection
from sdcli.name_template import NameTemplate
from sdcli.result import GenerationResult
from sdcli.shard import Shard

ReportForm = Literal["paths", "json", "jsonl"]


@dataclass(frozen=True, kw_only=True)
class PreviewOptions:
    """Where previews are shown: in the terminal, in the file `out`, or both; at least one.

    `vae` decodes them; None uses the linear approximation of latents by colours.
    """

    terminal: bool = False
    out: str | None = None
    vae: str | None = None


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Where the images of a run go, what is written with them, and how they are reported.

    `record_paths` records the full paths of models, not only their names.
    `out` is a file, a folder, or "-" for stdout, which takes several images with `tar` only.
    `expected_images` is None for a stream of unknown length. `journal` skips jobs that are done in
    the folder, except those that `rerun` names. `on_result` is called with every result once its
    file is written. `name_template` names the files in a folder. `list_done` also reports the
    images that were done before. `trace` is the folder for the trace of a run of one image. `shard`
    is the share of the run to make, by default that of the environment. `archive_size` images of a
    folder are packed into an archive, with their records.
    """

    out: str
    expected_images: int | None
    force: bool = False
    metadata: bool = True
    record_paths: bool = False
    sidecar: bool = False
    save_latents: LatentsSelection | None = None
    report: ReportForm = "paths"
    verbosity: int = 0
    tar: bool = False
    journal: bool = False
    rerun: Rerun | None = None
    on_result: Callable[[GenerationResult], None] | None = None
    preview: PreviewOptions | None = None
    name_template: NameTemplate | None = None
    list_done: bool = False
    trace: str | None = None
    shard: Shard | None = None
    archive_size: int | None = None

    def find_shard(self) -> Shard:
        """The share of this process. Raises UsageError as `Shard.from_environment` does."""
        return self.shard or Shard.from_environment()

    @property
    def draws_in_terminal(self) -> bool:
        """Whether previews are drawn in place of a progress bar."""
        return self.preview is not None and self.preview.terminal
