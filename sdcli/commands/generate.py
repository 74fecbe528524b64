"""`sdcli generate`: prompts to images."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from sdcli.commands.options import flags, sweepable
from sdcli.commands.options.parsing import (
    parse_batch_size,
    parse_latents,
    parse_preview,
    parse_report_format,
    parse_verbosity,
)
from sdcli.errors import ExitCode, UsageError
from sdcli.planning.resolve import random_seed
from sdcli.prompts.expansion import EntryExpander, RequestTemplate
from sdcli.prompts.readers.txt import read_plain_lines
from sdcli.prompts.sources import IterableSource, RequestSource, StreamSource
from sdcli.terminal.printing import print_path

STDIN = "-"

Prompts = Annotated[
    list[str],
    typer.Argument(
        metavar="PROMPT", help="What to draw; - reads a prompt a line from stdin, as it comes."
    ),
]


def generate(
    context: typer.Context,
    prompts: Prompts,
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
    out: flags.Out = "outputs",
    format: flags.Format = None,  # noqa: A002 - the option's name
    batch_size: flags.BatchSize = "1",
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
    """Draw images from prompts and print their paths.

    What is left out is the model's own choice: its steps, guidance, size and scheduler.

    \b
    Examples:
      sdcli generate "a cat and a guitar on a blue background"
      sdcli generate "a red star" "a fish" --seed 7 --count 4 -o stars
      sdcli generate "a dog" -s "DPM++ 2M Karras" --steps 12 -o dog.png
      echo "a green apple" | sdcli generate - --batch-size auto --jsonl
      sdcli generate "a {red|blue} star" --wildcard-mode all
      sdcli generate "a snowman in the snow" --preview --preview-vae tiny
      sdcli generate "a fish" --steps 5,10,20 -s ddim,euler --grid steps,scheduler
      sdcli generate "a castle" -m stable-diffusion-v1-5/stable-diffusion-v1-5
    """
    said = sweepable.request_options(locals())
    asked = sweepable.build_template(said, context, replace, wildcards, wildcard_mode)
    if grid and seed in (None, "-1"):
        said["seed"] = str(random_seed())  # the same one in every cell
        asked = sweepable.build_template(said, context, replace, wildcards, wildcard_mode)
    watching = parse_preview(preview, preview_out, preview_vae, quiet)
    from sdcli.runner.deliver import run
    from sdcli.runner.options import RunOptions

    grids = None
    if grid is not None:
        from sdcli.workflows.xy_grid import XYGrids, parse_grid_axes

        several = 2 if prompts == [STDIN] else len(prompts)
        grids = XYGrids(axes=parse_grid_axes(grid, asked, several, json=json))
    delivery = RunOptions(
        out=out,
        expected_images=_count_images(prompts, asked),
        force=force,
        metadata=not no_metadata,
        sidecar=sidecar,
        save_latents=parse_latents(save_latents, latents_kinds),
        report=parse_report_format(json, jsonl),
        verbosity=parse_verbosity(quiet, verbose),
        tar=format == "tar",
        on_result=grids.add if grids else None,
        preview=watching,
    )
    limit = parse_batch_size(batch_size)
    code = run(_open_prompts(prompts, asked), delivery, batch_size=limit)
    for path in grids.write(delivery) if grids else ():
        print_path(path, jsonl, schema="sdcli/grid/1")
    return code


def _open_prompts(prompts: list[str], asked: RequestTemplate) -> RequestSource:
    if prompts == [STDIN]:
        return StreamSource(
            sys.stdin.fileno(),
            read_plain_lines,
            EntryExpander(asked).expand,
            wildcards=asked.wildcards,
        )
    if STDIN in prompts:
        raise UsageError(
            "- reads all prompts from stdin, and cannot stand beside others",
            code="usage.prompt",
            hint="put them all on stdin, or all on the command line",
        )
    for replacement in asked.replacements:
        if not any(replacement.old in prompt for prompt in prompts):
            raise replacement.unused_error()
    return IterableSource(
        (request for prompt in prompts for request in asked.expand({"prompt": (prompt,)})),
        asked.wildcards,
    )


def _count_images(prompts: list[str], asked: RequestTemplate) -> int | None:
    """How many images come, None when that is not known before."""
    counts = [
        None if prompts == [STDIN] else asked.count_images({"prompt": (prompt,)})
        for prompt in prompts
    ]
    return None if None in counts else sum(count for count in counts if count)
