"""Write many images to a folder, and resume where an earlier run stopped: `sdcli.batch`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sdcli.errors import Interrupted, SdcliError, UsageError, quoted
from sdcli.library.arguments import Expansion, Prompt, PromptList, collect
from sdcli.library.console import PythonConsole, PythonReport
from sdcli.library.error_messages import python_errors, rewrite_error
from sdcli.library.output import FileOptions, out_path
from sdcli.library.result import GenerationResult
from sdcli.library.rows import RowOptions
from sdcli.library.signature import parse_batch_size, take, with_settings
from sdcli.prompts.sources import IterableSource
from sdcli.run_flags import BatchFlags
from sdcli.runner.options import RunOptions

if TYPE_CHECKING:
    from sdcli.prompts.expansion import RequestTemplate
    from sdcli.workflows.open_prompts import PromptSource

OWN_ARGUMENTS: Final = (
    "prompts", "out", "force", "batch_size", "keep_going", "redo", "retry_failed", "input_format",
    "on_result", "progress",
)  # fmt: skip
"""The arguments of `batch` that are not settings of a request."""

Prompts = str | os.PathLike[str] | Iterable[Prompt | os.PathLike[str]]


@dataclass(frozen=True, kw_only=True, repr=False)
class BatchResult:
    """The outcome of `batch`.

    `paths` are the files written by this call, in the order of their jobs. `made`, `skipped` (done
    before) and `failed` count images; `errors` are those of failed images and of invalid entries.
    """

    folder: Path
    paths: tuple[Path, ...]
    made: int
    skipped: int
    failed: int
    errors: tuple[SdcliError, ...]
    seconds: float

    def __repr__(self) -> str:
        counts = f"made={self.made}, skipped={self.skipped}, failed={self.failed}"
        return f"BatchResult({counts}, folder={str(self.folder)!r}, errors={len(self.errors)})"


@with_settings(FileOptions, Expansion, RowOptions)
@python_errors
def batch(
    prompts: Prompts,
    out: str | os.PathLike[str] = "outputs",
    *,
    force: bool = False,
    batch_size: int | str | None = "auto",
    keep_going: bool = False,
    redo: bool = False,
    retry_failed: bool = False,
    input_format: str | None = None,
    on_result: Callable[[GenerationResult], None] | None = None,
    progress: bool | None = None,
    **settings: Any,
) -> BatchResult:
    """Generate every prompt into a folder, and skip those that an earlier run has done.

    `prompts` is a prompt file (text, CSV, TSV, JSON, JSON lines, YAML or TOML), a list of Path
    objects of such files, or a list of prompts, dicts and GenerationRequests. A dict has the fields
    of a prompt file; its values win over `settings`, which have the names of the command line or of
    Diffusers. The folder and its journal are those of `sdcli batch`: either continues the other.

    All entries are checked before the first image; with `keep_going`, invalid ones are skipped.
    `redo` makes everything again, `retry_failed` what failed. `on_result` is called with each
    result once its file is written. `extra`, `prompt_column`, `name_template` and `limit` are those
    of the command line. Images that fail do not stop the others: see `errors`. Raises
    SdcliError for invalid entries, and for what ends the run, such as a full disk.
    """
    console, report = PythonConsole(progress), PythonReport(on_result)
    size = parse_batch_size(batch_size)
    files = FileOptions(**take(settings, FileOptions)).run_options()
    expansion = Expansion(**take(settings, Expansion))
    rows = RowOptions(**take(settings, RowOptions))
    template = replace(
        expansion.template("batch", OWN_ARGUMENTS, settings), name_template=rows.names()
    )
    opened = rows.limited(_open(prompts, input_format, template, keep_going, console, rows))
    options = RunOptions(
        out=out_path(out),
        expected_images=opened.images,
        force=force,
        journal=True,
        name_template=template.name_template,
        rerun=BatchFlags(redo=redo, retry_failed=retry_failed).rerun(),
        **files,
    )
    from sdcli.runner.deliver import run

    run(opened.source, options, batch_size=size, console=console, report=report)
    return _outcome(report, console, Path(options.out))


def _open(
    prompts: Prompts,
    input_format: str | None,
    template: RequestTemplate,
    keep_going: bool,
    console: PythonConsole,
    rows: RowOptions,
) -> PromptSource:
    from sdcli.workflows.open_prompts import PromptSource, open_prompts

    single = isinstance(prompts, str | os.PathLike)
    items: list[Any] = [prompts] if single else collect(prompts)[0]
    if single or (items and all(isinstance(item, os.PathLike) for item in items)):
        names = [_file_name(item) for item in items]
        columns = rows.columns()
        return open_prompts(names, input_format, template, keep_going, False, console, columns)
    if input_format is not None:
        raise UsageError("input_format is for files", code="usage.input_format")
    skip = console.error if keep_going else None
    prompt_list = PromptList(template, console.warn, skip, rows.columns())
    requests = prompt_list.expand(items, is_single=False)
    images = sum(request.count for request in requests)
    return PromptSource(IterableSource(requests, template.wildcards), images)


def _file_name(name: str | os.PathLike[str]) -> str:
    path = Path(name)
    if str(path) in ("-", ".") or not (path.suffix or path.exists()):
        raise UsageError(
            f"prompts: {quoted(str(name))} is not a file",
            code="usage.file",
            hint="for a prompt, give a list: sdcli.batch(['a cat'])",
        )
    return str(path)


def _outcome(report: PythonReport, console: PythonConsole, folder: Path) -> BatchResult:
    """Return the outcome of a run. Raises the error that ended it."""
    if isinstance(report.ended_by, Interrupted):
        raise KeyboardInterrupt(report.ended_by.message)
    if report.ended_by:
        raise report.ended_by
    errors = (*console.errors, *report.errors)
    for error in errors:
        rewrite_error(error)
    return BatchResult(
        folder=folder,
        paths=tuple(map(Path, report.paths)),
        made=report.summary["made"],
        skipped=report.summary["skipped"],
        failed=report.summary["failed"],
        errors=errors,
        seconds=report.summary["seconds"],
    )
