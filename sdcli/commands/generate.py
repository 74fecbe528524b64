"""`sdcli generate`: prompts to images."""

from __future__ import annotations

import secrets
import sys
from typing import Annotated

import typer

from sdcli.asking import EntryExpander, RequestTemplate
from sdcli.commands import meant, options, settings, told
from sdcli.errors import ExitCode, UsageError
from sdcli.prompts.arrivals import IterableSource, RequestSource, StreamSource
from sdcli.prompts.txt import read_plain_lines

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
    model: settings.Model = None,
    vae: settings.Vae = None,
    force_vae: options.ForceVae = False,
    vae_tiling: options.VaeTiling = None,
    variant: settings.Variant = None,
    scheduler: settings.Scheduler = None,
    steps: settings.Steps = None,
    guidance: settings.Guidance = None,
    guidance_rescale: settings.GuidanceRescale = None,
    eta: settings.Eta = None,
    clip_skip: settings.ClipSkip = None,
    negative: options.Negative = None,
    size: options.Size = None,
    seed: settings.Seed = None,
    count: settings.Count = None,
    replace: settings.Replace = None,
    wildcards: settings.WildcardFolder = None,
    wildcard_mode: settings.WildcardMode = None,
    grid: settings.Grid = None,
    dtype: settings.Dtype = None,
    device: settings.Device = None,
    out: options.Out = "outputs",
    format: options.Format = None,  # noqa: A002 - the option's name
    batch_size: options.BatchSize = "1",
    save_latents: options.SaveLatents = None,
    latents_kinds: options.LatentsKinds = None,
    preview: options.Preview = False,
    preview_out: options.PreviewOut = None,
    preview_vae: options.PreviewVae = None,
    sidecar: options.Sidecar = False,
    no_metadata: options.NoMetadata = False,
    force: options.Force = False,
    offline: options.Offline = False,
    json: options.Json = False,
    jsonl: options.JsonLines = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
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
    said = settings.request_options(locals())
    asked = settings.build_template(said, context, replace, wildcards, wildcard_mode)
    if grid and seed in (None, "-1"):
        said["seed"] = str(secrets.randbits(32))  # the same one in every cell
        asked = settings.build_template(said, context, replace, wildcards, wildcard_mode)
    watching = meant.parse_preview(preview, preview_out, preview_vae, quiet)
    from sdcli.run import run
    from sdcli.shelf import RunOptions

    grids = None
    if grid is not None:
        from sdcli import gridding

        several = 2 if prompts == [STDIN] else len(prompts)
        grids = gridding.XYGrids(axes=gridding.parse_grid_axes(grid, asked, several, json=json))
    delivery = RunOptions(
        out=out,
        images=_count_images(prompts, asked),
        force=force,
        metadata=not no_metadata,
        sidecar=sidecar,
        save_latents=meant.parse_latents(save_latents, latents_kinds),
        report=meant.parse_report_format(json, jsonl),
        verbosity=meant.parse_verbosity(quiet, verbose),
        archive=format == "tar",
        observe=grids.add if grids else None,
        watching=watching,
        wildcards=asked.wildcards,
    )
    limit = meant.parse_batch_size(batch_size)
    code = run(_open_prompts(prompts, asked), delivery, batch_size=limit)
    for path in grids.write(delivery) if grids else ():
        told.print_path(path, "sdcli/grid/1", jsonl)
    return code


def _open_prompts(prompts: list[str], asked: RequestTemplate) -> RequestSource:
    if prompts == [STDIN]:
        return StreamSource(sys.stdin.fileno(), read_plain_lines, EntryExpander(asked).requests)
    if STDIN in prompts:
        raise UsageError(
            "- reads all prompts from stdin, and cannot stand beside others",
            code="usage.prompt",
            hint="put them all on stdin, or all on the command line",
        )
    for replacement in asked.replacements:
        if not any(replacement.old in prompt for prompt in prompts):
            raise replacement.unused()
    return IterableSource(
        request for prompt in prompts for request in asked.requests({"prompt": (prompt,)})
    )


def _count_images(prompts: list[str], asked: RequestTemplate) -> int | None:
    """How many images come, None when that is not known before."""
    counts = [
        None if prompts == [STDIN] else asked.images({"prompt": (prompt,)}) for prompt in prompts
    ]
    return None if None in counts else sum(count for count in counts if count)
