"""`sdcli batch`: prompt files to many images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from sdcli.commands.options import flags, sweepable
from sdcli.commands.options.parsing import (
    parse_batch_size,
    parse_latents,
    parse_preview,
    parse_report_format,
    parse_rerun,
    parse_verbosity,
)
from sdcli.errors import ExitCode, UsageError
from sdcli.latents import LatentsSelection
from sdcli.prompts.files import is_stream
from sdcli.prompts.sources import RequestSource
from sdcli.shard import Shard
from sdcli.terminal.printing import print_path
from sdcli.workflows.open_prompts import STDIN, STDOUT, open_prompts

if TYPE_CHECKING:
    from sdcli.runner.dry_run import FolderState


Files = Annotated[
    list[str],
    typer.Argument(
        metavar="FILE",
        help="Prompts as .txt, .csv, .tsv, .jsonl, .json, .yaml or .toml; - is stdin, text "
        "unless --input-format says what.",
    ),
]


def batch(
    context: typer.Context,
    files: Files,
    model: sweepable.Model = None,
    vae: sweepable.Vae = None,
    force_vae: flags.ForceVae = False,
    vae_tiling: flags.VaeTiling = None,
    variant: sweepable.Variant = None,
    scheduler: sweepable.Scheduler = None,
    steps: sweepable.Steps = None,
    guidance: sweepable.Guidance = None,
    guidance_rescale: sweepable.GuidanceRescale = None,
    eta: sweepable.Eta = None,
    clip_skip: sweepable.ClipSkip = None,
    negative: flags.Negative = None,
    size: flags.Size = None,
    seed: sweepable.Seed = None,
    count: sweepable.Count = None,
    replace: sweepable.Replace = None,
    wildcards: sweepable.WildcardFolder = None,
    wildcard_mode: sweepable.WildcardMode = None,
    grid: sweepable.Grid = None,
    dtype: sweepable.Dtype = None,
    device: sweepable.Device = None,
    input_format: flags.InputFormat = None,
    keep_going: flags.KeepGoing = False,
    dry_run: flags.DryRun = False,
    redo: flags.Redo = False,
    retry_failed: flags.RetryFailed = False,
    out: flags.Out = "outputs",
    format: flags.Format = None,  # noqa: A002 - the option's name
    batch_size: flags.BatchSize = "auto",
    save_latents: flags.SaveLatents = None,
    latents_kinds: flags.LatentsKinds = None,
    preview: flags.Preview = False,
    preview_out: flags.PreviewOut = None,
    preview_vae: flags.PreviewVae = None,
    sidecar: flags.Sidecar = False,
    no_metadata: flags.NoMetadata = False,
    force: flags.Force = False,
    offline: flags.Offline = False,
    json: flags.Json = False,
    jsonl: flags.JsonLines = False,
    quiet: flags.Quiet = False,
    verbose: flags.Verbose = 0,
) -> ExitCode:
    """Draw every prompt of a file, and go on where an earlier run stopped.

    Each line, row or object may set for itself every setting of its picture:
    model, VAE, scheduler, steps, guidance, size, seed, count and their like. It
    wins over the command line, that over the defaults at the top of its file,
    these over sdcli.toml and SDCLI_* variables, and all over the model's own.

    A journal beside the images says what is done: the same command again makes
    what is missing, and several at once share the work.

    \b
    Examples:
      sdcli batch prompts/demo.txt -o demo
      sdcli batch prompts/demo.csv --dry-run
      sdcli batch prompts/demo.yaml --seed 1..4 --steps 10,20 --batch-size 1
      jq -c . jobs.jsonl | sdcli batch - --input-format jsonl --keep-going
    """
    said = sweepable.request_options(locals())
    asked = sweepable.build_template(said, context, replace, wildcards, wildcard_mode)
    limit = parse_batch_size(batch_size)
    form = parse_report_format(json, jsonl)
    wanted = parse_latents(save_latents, latents_kinds)
    verbosity = parse_verbosity(quiet, verbose)
    watching = parse_preview(preview, preview_out, preview_vae, quiet)
    if grid is not None:
        _check_grid(grid, files, said, out)
        from sdcli.workflows.xy_grid import parse_grid_axes, write_batch_grids

        axes = parse_grid_axes(grid, asked, 2, json=json)
    from sdcli.terminal.console import Console

    talk = Console(verbosity=verbosity)
    prompts = open_prompts(files, input_format, asked, keep_going, dry_run, talk)
    if dry_run:
        from sdcli.runner.dry_run import open_folder_state

        with open_folder_state(out, parse_rerun(redo, retry_failed)) as folder:
            _print_dry_run(prompts.source, form, wanted, folder)
        return prompts.worst(ExitCode.OK)
    from sdcli.runner.deliver import run
    from sdcli.runner.options import RunOptions

    delivery = RunOptions(
        out=out,
        expected_images=prompts.images,
        force=force,
        metadata=not no_metadata,
        sidecar=sidecar,
        save_latents=wanted,
        report=form,
        verbosity=verbosity,
        tar=format == "tar",
        journal=out != STDOUT,
        rerun=parse_rerun(redo, retry_failed),
        preview=watching,
    )
    code = prompts.worst(run(prompts.source, delivery, batch_size=limit))
    if grid is not None and code in (ExitCode.OK, ExitCode.PARTIAL):
        for path in write_batch_grids(prompts.reopen(), delivery, axes):
            print_path(path, jsonl, schema="sdcli/grid/1")
    return code


def _check_grid(text: str, files: list[str], said: Mapping[str, object], out: str) -> None:
    """Raises UsageError where a grid would not be the same at a second start, or could not be."""
    refusal = None
    if any(name == STDIN or is_stream(name) for name in files):
        refusal = "it is drawn at the end, from the files, and stdin is gone by then"
    elif out == STDOUT:
        refusal = "it lies beside the images, and --out is stdout"
    elif said["seed"] in (None, "-1"):
        refusal = "its pictures need one seed: give --seed"
    elif not Shard.from_environment().is_whole_run:
        refusal = "no rank sees all the images: give the same command without ranks afterwards"
    if refusal:
        raise UsageError(f"--grid {text}: {refusal}", code="usage.grid")


def _print_dry_run(
    source: RequestSource,
    form: flags.ReportForm,
    latents: LatentsSelection | None,
    folder: FolderState,
) -> None:
    from sdcli.runner.dry_run import DryRunTotals, dry_run
    from sdcli.terminal.dry_run_report import print_dry_run

    totals = DryRunTotals()
    print_dry_run(dry_run(source, totals, latents, folder), totals.to_dict, form)
