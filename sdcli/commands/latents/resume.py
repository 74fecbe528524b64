"""Define `sdcli latents resume`: resume a run from one of its steps."""

from __future__ import annotations

from typing import Annotated

import typer

from sdcli.commands.latents.options import File
from sdcli.commands.options import flags
from sdcli.commands.options.parsing import parse_latents, parse_report_format, parse_verbosity
from sdcli.errors import ExitCode
from sdcli.prompts.sources import IterableSource

FromStep = Annotated[
    int, typer.Option("--from-step", help="Number of steps to keep; 0 starts from the noise.")
]
Prompt = Annotated[
    str | None, typer.Option("--prompt", "-p", help="Prompt of the remaining steps.")
]

Device = Annotated[
    str | None,
    typer.Option("--device", metavar="DEVICE", help="Device. Default: that of the run."),
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
    """Resume a run from a given step. With the same options the image is identical.

    Another prompt takes over from that step on. Another scheduler starts at the step whose noise
    level is nearest.

    \b
    Examples:
      sdcli latents resume outputs/0001-a-cat-7.latents.safetensors --from-step 10
      sdcli latents resume outputs/0001-a-cat-7.png --from-step 6 --prompt "a dog"
      sdcli latents resume cat.png --from-step 12 --scheduler "Euler a" -o other.png
    """
    from sdcli.runner.deliver import run
    from sdcli.runner.loop import resume_from
    from sdcli.runner.options import RunOptions
    from sdcli.storage.latents.reader import read_latents_file
    from sdcli.terminal.console import Console
    from sdcli.workflows.resume_latents import branch_warning, resumed_request

    latents = read_latents_file(file)
    recorded = latents.request
    request = resumed_request(
        recorded,
        {
            "prompt": prompt,
            "negative_prompt": negative,
            "scheduler": scheduler,
            "num_inference_steps": steps,
            "guidance_scale": guidance,
            "vae_tiling": vae_tiling,
        },
        {"vae": vae, "device": device or None, "offline": offline, "force_vae": force_vae},
    )
    run_options = RunOptions(
        out=out,
        expected_images=1,
        force=force,
        sidecar=sidecar,
        save_latents=parse_latents(save_latents, latents_kinds),
        report=parse_report_format(json, False),
        verbosity=parse_verbosity(quiet, verbose),
    )
    if warning := branch_warning(latents, from_step):
        Console(verbosity=run_options.verbosity).warn(warning)
    resume_hook = resume_from(latents, recorded, from_step)
    return run(IterableSource([request]), run_options, begin=resume_hook)
