"""`sdcli batch`: prompt files to many images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdcli.archive_flags import ArchiveFlags
from sdcli.cluster_flags import ClusterFlags
from sdcli.commands.options import flags
from sdcli.commands.options.cluster_options import check_cluster, find_runner
from sdcli.commands.options.parsing import (
    parse_batch_size,
    parse_input_format,
    parse_name_template,
)
from sdcli.commands.options.request_flags import RequestFlags
from sdcli.commands.options.run_options import RunFlags
from sdcli.commands.options.typer_options import expand_groups
from sdcli.errors import ExitCode, UsageError
from sdcli.inputs.paths import is_url
from sdcli.prompts.columns import Columns
from sdcli.prompts.files import is_stream
from sdcli.run_flags import BatchFlags, ExpansionFlags, InputFlags, SheetFlags
from sdcli.shard import Shard
from sdcli.terminal.printing import print_path
from sdcli.workflows.open_prompts import STDIN, STDOUT, PromptSource, open_prompts

if TYPE_CHECKING:
    from sdcli.prompts.expansion import RequestTemplate
    from sdcli.runner.options import RunOptions
    from sdcli.terminal.console import Console

Files = Annotated[
    list[str],
    typer.Argument(
        metavar="FILE",
        help="Prompts as .txt, .csv, .tsv, .jsonl, .json, .yaml or .toml; - is stdin, read as "
        "text unless --input-format tells otherwise. Or images, or folders of images.",
    ),
]


@expand_groups
def batch(
    *,
    context: typer.Context,
    files: Files,
    request: RequestFlags,
    expansion: ExpansionFlags,
    source: InputFlags,
    jobs: BatchFlags,
    batch_size: flags.BatchSize = "auto",
    archive: ArchiveFlags,
    cluster: ClusterFlags,
    run_flags: RunFlags,
) -> ExitCode:
    """Generate every prompt of a file, and resume where an earlier run stopped.

    Each line, row or object of the file may set every setting of its images: model, VAE,
    scheduler, steps, guidance, size, seed, count and others. In order of precedence: the
    line itself, the command line, the defaults at the top of the file, sdcli.toml and
    SDCLI_* variables, the model. A list or a range (--steps 10,20 --seed 1..4) is a sweep.

    Images are made again from their own records, those of other programs included; what
    is given on the command line wins over the record.

    A journal in the output folder records what is done. Run the same command again to
    resume, or several times at once to share the work; --workers and --gpus do that in one
    command, --shard on machines without a common folder.

    \b
    Examples:
      sdcli batch prompts/demo.txt -o demo
      sdcli batch prompts/demo.csv --dry-run
      sdcli batch products.csv --extra keep --name-template "{sku}-{seed}"
      sdcli batch demo --hires 2x -o large
      sdcli batch prompts/demo.yaml --seed 1..4 --steps 10,20 --workers 2
      sdcli batch prompts/demo.txt --shard 1/8 --seed 1 -o part-1
      jq -c . jobs.jsonl | sdcli batch - --input-format jsonl --keep-going
    """
    shard = Shard.parse(cluster.shard) if cluster.shard is not None else None
    options, sheet = _run_options(run_flags, jobs, shard, archive, expansion), expansion.sheet()
    check_cluster(cluster, options, request.device())
    template = replace(request.template(context, expansion), name_template=options.name_template)
    size = parse_batch_size(batch_size)
    axes: tuple[str, ...] = ()
    if expansion.grid is not None:
        _check_grid(expansion.grid, files, request, options)
        axes = _parse_axes(expansion.grid, template, json=run_flags.report.json)
    prompts = _open(files, template, jobs, options, null=source.null)
    if jobs.dry_run:
        return _print_dry_run(prompts, options)
    return _run(prompts, options, partial(find_runner(cluster), batch_size=size), axes, sheet)


def _open(
    files: list[str],
    template: RequestTemplate,
    jobs: BatchFlags,
    options: RunOptions,
    *,
    null: bool,
) -> PromptSource:
    from sdcli.terminal.console import Console

    console = Console(verbosity=options.verbosity)
    one_pass = jobs.dry_run and _prints_at_end(options)
    prompts = _open_all(files, template, jobs, console, null=null, one_pass=one_pass)
    if jobs.limit:
        prompts.limit(jobs.limit)
    return prompts


def _prints_at_end(options: RunOptions) -> bool:
    """Whether a dry run tells nothing, and changes no journal, before all jobs are planned."""
    from sdcli.runner.dry_run import has_journal

    return options.report != "jsonl" and not has_journal(options.out)


def _open_all(
    files: list[str],
    template: RequestTemplate,
    jobs: BatchFlags,
    console: Console,
    *,
    null: bool,
    one_pass: bool,
) -> PromptSource:
    # Reading records needs most of what draws images.
    from sdcli.workflows.open_images import as_input_needs_images, has_images, open_images

    if has_images(files):
        _check_image_options(jobs, null=null)
        return open_images(files, template, jobs.keep_going, console, as_input=jobs.as_input)
    if jobs.as_input:
        raise as_input_needs_images()
    form = parse_input_format(jobs.input_format, null=null)
    columns = Columns.parse(jobs.extra, jobs.prompt_column)
    return open_prompts(
        files,
        form,
        template,
        jobs.keep_going,
        jobs.dry_run,
        console,
        columns,
        one_pass=one_pass,
    )


def _check_image_options(jobs: BatchFlags, *, null: bool) -> None:
    """Raise UsageError for options of prompt files, which images would ignore."""
    given = {
        "--extra": jobs.extra is not None,
        "--input-format": jobs.input_format is not None,
        "--prompt-column": jobs.prompt_column is not None,
        "--null": null,
    }
    for flag, is_given in given.items():
        if is_given:
            raise UsageError(
                f"{flag} has no effect on images",
                code="usage.file",
                hint="leave it out, or give prompt files",
            )


def _run_options(
    run_flags: RunFlags,
    jobs: BatchFlags,
    shard: Shard | None,
    archive: ArchiveFlags,
    expansion: ExpansionFlags,
) -> RunOptions:
    out, is_tar = run_flags.output.out, run_flags.image.format == "tar"
    return run_flags.options(
        expected_images=None,
        name_template=parse_name_template(jobs.name_template, out=out, tar=is_tar),
        list_done=jobs.list_done,
        journal=out != STDOUT,
        shard=shard,
        archive_size=archive.size(out, expansion.grid),
        rerun=jobs.rerun(),
    )


def _run(
    prompts: PromptSource,
    options: RunOptions,
    make: Callable[..., ExitCode],
    axes: tuple[str, ...],
    sheet: SheetFlags,
) -> ExitCode:
    """Draw the images, and then the grids of what is done, in this start or before."""
    from sdcli.workflows.xy_grid import write_batch_grids

    options = replace(options, expected_images=prompts.images)
    code = prompts.worst(make(prompts.source, options))
    if axes and code in (ExitCode.OK, ExitCode.PARTIAL):
        for path in write_batch_grids(prompts.reopen(), options, axes, sheet):
            print_path(path, options.report == "jsonl", schema="sdcli/grid/1")
    return code


def _parse_axes(text: str, template: RequestTemplate, *, json: bool) -> tuple[str, ...]:
    from sdcli.workflows.xy_grid import parse_grid_axes

    # The number of prompts is unknown before the files are read: 2 stands for several.
    return parse_grid_axes(text, template, 2, json=json)


def _check_grid(text: str, files: list[str], request: RequestFlags, options: RunOptions) -> None:
    """Raise UsageError for a grid that can't be made, or not twice the same."""
    reason = None
    if any(name == STDIN or is_stream(name) for name in files):
        reason = "the grid is made from the files at the end, and stdin can't be read twice"
    elif options.out == STDOUT:
        reason = "the grid is written next to the images, but --out is stdout"
    elif is_url(options.out):
        reason = "the grid is drawn from files, but --out is a URL"
    elif not request.has_seed():
        reason = "the images of a grid need the same seed; add --seed"
    elif not options.find_shard().is_whole_run:
        reason = "no rank or shard has all images; run the same command without them afterwards"
    if reason:
        raise UsageError(f"--grid {text}: {reason}", code="usage.grid")


def _print_dry_run(prompts: PromptSource, options: RunOptions) -> ExitCode:
    from sdcli.runner.dry_run import DryRunTotals, dry_run, open_folder_state, rare_collections
    from sdcli.terminal.console import Console
    from sdcli.terminal.dry_run_report import print_dry_run

    totals, warn = DryRunTotals(), Console(verbosity=options.verbosity).warn
    with rare_collections(), open_folder_state(options.out, options.rerun) as folder:

        def plan(warn: Callable[[str], None]) -> Iterator[Callable[[], dict[str, Any]]]:
            shard, source = options.find_shard(), prompts.source
            return dry_run(source, totals, options.save_latents, folder, warn, shard)

        jobs = prompts.plan(plan, warn)
        print_dry_run(jobs, totals.to_dict, options.report, verbose=options.verbosity > 0)
    return prompts.worst(ExitCode.OK)
