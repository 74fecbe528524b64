"""Define `sdcli latents resume`: resume a run from one of its steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from sdcli.commands.latents.options import File
from sdcli.commands.options import flags
from sdcli.commands.options.parsing import parse_latents, parse_report_format, parse_verbosity
from sdcli.commands.options.typer_options import expand_groups
from sdcli.errors import ExitCode
from sdcli.prompts.sources import IterableSource
from sdcli.run_flags import LatentsFlags, MessageFlags, OutputFlags

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


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What the remaining steps do differently from the recorded run."""

    prompt: Prompt = None
    negative: flags.Negative = None
    scheduler: flags.Scheduler = None
    steps: flags.Steps = None
    guidance: flags.Guidance = None
    guidance_schedule: flags.GuidanceSchedule = None
    guidance_from: flags.GuidanceFrom = None
    guidance_to: flags.GuidanceTo = None
    guidance_every: flags.GuidanceEvery = None
    pag: flags.Pag = None
    feature_cache: flags.FeatureCache = None
    vae: flags.Vae = None
    force_vae: flags.ForceVae = False
    vae_tiling: flags.VaeTiling = None
    device: Device = None
    backend: flags.Backend = None
    offline: flags.Offline = False

    def request_fields(self) -> dict[str, object]:
        """The fields of the request that may change."""
        return {
            "prompt": self.prompt,
            "negative_prompt": self.negative,
            "scheduler": self.scheduler,
            "num_inference_steps": self.steps,
            "guidance_scale": self.guidance,
            "guidance_schedule": self.guidance_schedule,
            "guidance_from": self.guidance_from,
            "guidance_to": self.guidance_to,
            "guidance_every": self.guidance_every,
            "pag_scale": self.pag,
            "feature_cache": self.feature_cache,
            "vae_tiling": self.vae_tiling,
        }

    def spec_fields(self) -> dict[str, object]:
        """The fields of its PipelineSpec that may change."""
        return {
            "vae": self.vae,
            "device": self.device or None,
            "backend": self.backend,
            "offline": self.offline,
            "force_vae": self.force_vae,
        }


@expand_groups
def resume(
    *,
    file: File,
    from_step: FromStep,
    changes: Changes,
    output: OutputFlags,
    latents: LatentsFlags,
    inputs: flags.Inputs = None,
    sidecar: flags.Sidecar = False,
    json: flags.Json = False,
    messages: MessageFlags,
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
    from sdcli.runner.batch_generator import ResumeSource
    from sdcli.runner.deliver import run
    from sdcli.runner.options import RunOptions
    from sdcli.storage.latents.reader import read_latents_file
    from sdcli.terminal.console import Console
    from sdcli.workflows.resume_latents import branch_warning, locate_request, resumed_request

    recorded = read_latents_file(file)
    console = Console(verbosity=parse_verbosity(messages.quiet, messages.verbose))
    origin = locate_request(recorded, inputs, console.warn)
    request = resumed_request(origin, changes.request_fields(), changes.spec_fields())
    run_options = RunOptions(
        out=output.out,
        expected_images=1,
        force=output.force,
        sidecar=sidecar,
        save_latents=parse_latents(latents.save_latents, latents.latents_kinds),
        report=parse_report_format(json, False),
        verbosity=parse_verbosity(messages.quiet, messages.verbose),
    )
    if warning := branch_warning(recorded, from_step):
        console.warn(warning)
    start = ResumeSource(latents=recorded, request=origin, step=from_step)
    return run(IterableSource([request]), run_options, resume=start)
