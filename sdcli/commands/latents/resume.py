"""`sdcli latents resume`: go on from a step of a run, as it was or otherwise."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdcli.commands.latents.options import File
from sdcli.commands.options import flags
from sdcli.commands.options.parsing import parse_latents, parse_report_format, parse_verbosity
from sdcli.errors import ExitCode
from sdcli.latents import RESUMED_PREFIX
from sdcli.prompts.sources import IterableSource
from sdcli.request import GenerationRequest

if TYPE_CHECKING:
    from sdcli.storage.latents.reader import LatentsFile

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
    negative: flags.Negative = None,
    scheduler: flags.Scheduler = None,
    steps: flags.Steps = None,
    guidance: flags.Guidance = None,
    vae: flags.Vae = None,
    force_vae: flags.ForceVae = False,
    vae_tiling: flags.VaeTiling = None,
    device: Device = None,
    out: flags.Out = "outputs",
    save_latents: flags.SaveLatents = None,
    latents_kinds: flags.LatentsKinds = None,
    sidecar: flags.Sidecar = False,
    force: flags.Force = False,
    offline: flags.Offline = False,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
    verbose: flags.Verbose = 0,
) -> ExitCode:
    """Go on from a step of a run. With nothing changed the image is the same, to the bit.

    Another prompt mixes two in time; another scheduler begins where its noise is nearest.

    \b
    Examples:
      sdcli latents resume outputs/0001-a-cat-7.latents.safetensors --from-step 10
      sdcli latents resume outputs/0001-a-cat-7.png --from-step 6 --prompt "a dog"
      sdcli latents resume cat.png --from-step 12 --scheduler "Euler a" -o other.png
    """
    from sdcli.runner.batches import ResumeSource
    from sdcli.runner.deliver import run
    from sdcli.runner.options import RunOptions
    from sdcli.storage.latents.reader import read_latents_file
    from sdcli.terminal.console import Console

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
        expected_images=1,
        force=force,
        sidecar=sidecar,
        save_latents=parse_latents(save_latents, latents_kinds),
        report=parse_report_format(json, False),
        verbosity=parse_verbosity(quiet, verbose),
    )
    if warning := _of_two_runs(dump, from_step):
        Console(verbosity=delivery.verbosity).warn(warning)
    start = ResumeSource(latents=dump, request=was, step=from_step)
    return run(IterableSource([request]), delivery, resume=start)


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
