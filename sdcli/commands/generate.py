"""`sdcli generate`: prompts to images."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Annotated

import typer

from sdcli.commands import options
from sdcli.errors import ExitCode, UsageError
from sdcli.prompts.arrivals import Arrivals, Given, Lines
from sdcli.request import EMBEDDED, GenerationRequest

STDIN = "-"

Prompts = Annotated[
    list[str],
    typer.Argument(
        metavar="PROMPT", help="What to draw; - reads a prompt a line from stdin, as it comes."
    ),
]


def generate(
    prompts: Prompts,
    model: options.Model = EMBEDDED,
    vae: options.Vae = None,
    force_vae: options.ForceVae = False,
    vae_tiling: options.VaeTiling = None,
    variant: options.Variant = None,
    scheduler: options.Scheduler = None,
    steps: options.Steps = None,
    guidance: options.Guidance = None,
    guidance_rescale: options.GuidanceRescale = None,
    eta: options.Eta = None,
    clip_skip: options.ClipSkip = None,
    negative: options.Negative = None,
    size: options.Size = None,
    seed: options.Seed = None,
    count: options.Count = 1,
    dtype: options.Dtype = None,
    device: options.Device = "auto",
    out: options.Out = "outputs",
    format: options.Format = None,  # noqa: A002 - the option's name
    batch_size: options.BatchSize = "1",
    save_latents: options.SaveLatents = None,
    latents_kinds: options.LatentsKinds = None,
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
      sdcli generate "a castle" -m stable-diffusion-v1-5/stable-diffusion-v1-5
    """
    width, height = options.parse_size(size)
    request = GenerationRequest(
        prompt=prompts[0],
        negative_prompt=negative,
        spec=options.spec(model, vae, variant, dtype, device, offline, force_vae),
        scheduler=scheduler,
        num_inference_steps=steps,
        guidance_scale=guidance,
        guidance_rescale=guidance_rescale,
        eta=eta,
        clip_skip=clip_skip,
        width=width,
        height=height,
        seed=seed,
        count=count,
        vae_tiling=vae_tiling,
    )
    from sdcli.run import Delivery, deliver

    delivery = Delivery(
        out=out,
        images=None if prompts == [STDIN] else len(prompts) * count,
        force=force,
        metadata=not no_metadata,
        sidecar=sidecar,
        save_latents=options.parse_latents(save_latents, latents_kinds),
        report=options.report_form(json, jsonl),
        verbosity=options.verbosity(quiet, verbose),
        archive=format == "tar",
    )
    limit = options.parse_batch_size(batch_size)
    return deliver(_source(prompts, request), delivery, batch_size=limit)


def _source(prompts: list[str], template: GenerationRequest) -> Arrivals:
    if prompts == [STDIN]:
        return Lines(sys.stdin.fileno(), template)
    if STDIN in prompts:
        raise UsageError(
            "- reads all prompts from stdin, and cannot stand beside others",
            code="usage.prompt",
            hint="put them all on stdin, or all on the command line",
        )
    return Given([replace(template, prompt=prompt) for prompt in prompts])
