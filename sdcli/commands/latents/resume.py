"""`sdcli latents resume`: go on from a step of a run, as it was or otherwise."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdcli.commands import meant, options
from sdcli.commands.latents.choices import File
from sdcli.dump import RESUMED_PREFIX
from sdcli.errors import ExitCode
from sdcli.prompts.arrivals import IterableSource
from sdcli.request import GenerationRequest

if TYPE_CHECKING:
    from sdcli.output.dumps import LatentsFile

FromStep = Annotated[
    int, typer.Option("--from-step", help="How many steps are kept; 0 starts from the noise.")
]
Prompt = Annotated[str | None, typer.Option("--prompt", "-p", help="What to draw from here on.")]

Device = Annotated[
    str | None,
    typer.Option("--device", metavar="DEVICE", help="Another device than the run was asked for."),
]


def resume(
    file: File,
    from_step: FromStep,
    prompt: Prompt = None,
    negative: options.Negative = None,
    scheduler: options.Scheduler = None,
    steps: options.Steps = None,
    guidance: options.Guidance = None,
    vae: options.Vae = None,
    force_vae: options.ForceVae = False,
    vae_tiling: options.VaeTiling = None,
    device: Device = None,
    out: options.Out = "outputs",
    save_latents: options.SaveLatents = None,
    latents_kinds: options.LatentsKinds = None,
    sidecar: options.Sidecar = False,
    force: options.Force = False,
    offline: options.Offline = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
) -> ExitCode:
    """Go on from a step of a run. With nothing changed the image is the same, to the bit.

    Another prompt mixes two in time; another scheduler begins where its noise is nearest.

    \b
    Examples:
      sdcli latents resume outputs/0001-a-cat-7.latents.safetensors --from-step 10
      sdcli latents resume outputs/0001-a-cat-7.png --from-step 6 --prompt "a dog"
      sdcli latents resume cat.png --from-step 12 --scheduler "Euler a" -o other.png
    """
    from sdcli.output.console import Console
    from sdcli.output.dumps import read_latents_file
    from sdcli.run import resume_from, run
    from sdcli.shelf import RunOptions

    dump = read_latents_file(file)
    changes: dict[str, Any] = {
        "prompt": prompt,
        "negative_prompt": negative,
        "scheduler": scheduler,
        "num_inference_steps": steps,
        "guidance_scale": guidance,
        "vae_tiling": vae_tiling,
    }
    was = dump.request
    request: GenerationRequest = replace(
        was,
        spec=replace(
            was.spec,
            vae=was.spec.vae if vae is None else vae,
            device=device or was.spec.device,
            offline=offline or was.spec.offline,
            force_vae=force_vae or was.spec.force_vae,
        ),
        **{k: v for k, v in changes.items() if v is not None},
    )
    delivery = RunOptions(
        out=out,
        images=1,
        force=force,
        sidecar=sidecar,
        save_latents=meant.parse_latents(save_latents, latents_kinds),
        report=meant.parse_report_format(json, False),
        verbosity=meant.parse_verbosity(quiet, verbose),
    )
    if warning := _of_two_runs(dump, from_step):
        Console(verbosity=delivery.verbosity).warn(warning)
    return run(IterableSource([request]), delivery, begin=resume_from(dump, was, from_step))


def _of_two_runs(dump: LatentsFile, step: int) -> str | None:
    """What to say of latents whose run went on from another's later than at this step."""
    for event in dump.record.get("events", ()):
        branch = re.match(rf"{RESUMED_PREFIX} (\d+)", str(event))
        if branch and step < int(branch[1]):
            return (
                f"the first {branch[1]} steps in {dump.path} are of another run, and from step "
                f"{step} on the rest is drawn as its last ones were: it is another picture"
            )
    return None
