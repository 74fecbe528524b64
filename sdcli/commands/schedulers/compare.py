"""`sdcli schedulers compare`: denoise the same noise with several schedulers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdcli.commands.options import flags
from sdcli.commands.options.parsing import parse_size, parse_verbosity
from sdcli.commands.options.spec_flags import SpecFlags
from sdcli.commands.options.typer_options import expand_groups
from sdcli.errors import ExitCode, UsageError
from sdcli.pipeline_spec import PipelineSpec
from sdcli.request import GenerationRequest
from sdcli.run_flags import MessageFlags, OutputFlags

if TYPE_CHECKING:
    from sdcli.workflows.compare_schedulers import SchedulerComparison, SchedulerRun

SCHEMA = "sdcli/comparison/1"
_MOST_STEPS = 1000

Prompt = Annotated[str, typer.Argument(metavar="PROMPT", help="What to generate.")]
Schedulers = Annotated[
    str,
    typer.Option(
        "--schedulers", help="Comma-separated names, as for --scheduler.", metavar="A,B,C"
    ),
]
StepsList = Annotated[
    str, typer.Option("--steps", help="Comma-separated numbers of steps.", metavar="N,N")
]
ReferenceSteps = Annotated[
    int | None,
    typer.Option(
        "--reference-steps",
        help="Steps of the reference, DPM++ 2M. Default: 4 times the largest of --steps, at "
        "least 100.",
    ),
]


@dataclass(frozen=True, kw_only=True)
class ImageSettings:
    """The settings that all images of a comparison share."""

    guidance: flags.Guidance = None
    negative: flags.Negative = None
    size: flags.Size = None
    seed: flags.Seed = None
    vae_tiling: flags.VaeTiling = None

    def request(self, prompt: str, spec: PipelineSpec) -> GenerationRequest:
        """The request that the runs vary. Raises UsageError."""
        width, height = parse_size(self.size)
        return GenerationRequest(
            prompt=prompt,
            negative_prompt=self.negative,
            spec=spec,
            vae_tiling=self.vae_tiling,
            guidance_scale=self.guidance,
            width=width,
            height=height,
            seed=self.seed,
        )


@expand_groups
def compare(
    *,
    prompt: Prompt,
    schedulers: Schedulers = "DDIM,Euler,Heun,DPM++ 2M,DPM++ 2M Karras,UniPC",
    steps: StepsList = "4,8,16,32",
    reference_steps: ReferenceSteps = None,
    spec: SpecFlags,
    image: ImageSettings,
    output: OutputFlags,
    json: flags.Json = False,
    messages: MessageFlags,
) -> ExitCode:
    """Compare schedulers on one prompt and the same noise.

    Prints a table and writes a labelled grid. Distances are measured to a reference: a run
    of many steps from the same noise.

    \b
    Examples:
      sdcli schedulers compare "a cat and a guitar" --seed 7 -o grid.png
      sdcli schedulers compare "a fish" --schedulers ddim,euler,heun --steps 4,16
      sdcli schedulers compare "a fish" --schedulers "euler,euler a" --json
    """
    request = image.request(prompt, spec.spec())
    numbers = _numbers(steps)
    names = [name.strip() for name in schedulers.split(",") if name.strip()]
    if not names:
        raise UsageError("--schedulers: no names given", code="usage.schedulers")
    many = _reference_steps(reference_steps, numbers[-1])
    from sdcli.storage.images.contact_sheet import write_contact_sheet
    from sdcli.storage.images.destination import parse_destination
    from sdcli.terminal.console import Console
    from sdcli.workflows.compare_schedulers import compare_schedulers

    _check_out(output.out)
    destination = parse_destination(output.out, several=False, force=output.force)
    console = Console(verbosity=parse_verbosity(messages.quiet, messages.verbose))
    with console.progress(None) as bar:
        comparison = compare_schedulers(
            request, names, numbers, reference_steps=many, on_step=bar.on_step, warn=console.warn
        )
    path = write_contact_sheet(_grid(comparison), destination, prompt, comparison.seed)
    _report(comparison, path, json)
    return ExitCode.PARTIAL if any(run.error for run in comparison.runs) else ExitCode.OK


def _numbers(text: str) -> list[int]:
    """ "16,4,8" to [4, 8, 16]."""
    words = [word.strip() for word in text.split(",")]
    if not all(
        re.fullmatch("0{0,9}[0-9]{1,4}", word) and 1 <= int(word) <= _MOST_STEPS for word in words
    ):
        raise UsageError(
            f"--steps: {text!r}: expected comma-separated integers from 1 to {_MOST_STEPS}",
            code="usage.steps",
            hint="e.g. --steps 4,8,16",
        )
    return sorted(set(map(int, words)))


def _reference_steps(requested: int | None, most: int) -> int:
    if requested is None:
        return min(max(4 * most, 100), _MOST_STEPS)
    if not 1 <= requested <= _MOST_STEPS:
        raise UsageError(
            f"--reference-steps: {requested} is not between 1 and {_MOST_STEPS}",
            code="usage.reference_steps",
        )
    return requested


def _check_out(out: str) -> None:
    if out == "-":
        raise UsageError(
            "--out -: stdout is used for the table",
            code="usage.out",
            hint="give a file or a folder",
        )


def _grid(comparison: SchedulerComparison) -> Any:
    from sdcli.storage.images.contact_sheet import labelled_grid

    names = list(dict.fromkeys(run.scheduler for run in comparison.runs))
    steps = sorted({run.steps for run in comparison.runs})
    cells = {(run.scheduler, run.steps): run.pixels for run in comparison.runs}
    rows = [[cells[name, n] for n in steps] for name in names]
    reference = comparison.reference
    # The reference stands in the last column, of the most steps.
    blank = [None] * (len(steps) - 1)
    return labelled_grid(
        [*rows, [*blank, reference.pixels]],
        rows=[*names, f"reference: {reference.scheduler}, {reference.steps} steps"],
        columns=[f"{n} steps" for n in steps],
    )


def _report(comparison: SchedulerComparison, path: str, json: bool) -> None:
    if json:
        from sdcli.terminal.json_output import print_json_line

        print_json_line(_document(comparison, path))
        return
    from sdcli.terminal.output import print_lines
    from sdcli.terminal.tables import print_columns

    header = ("scheduler", "steps", "UNet calls", "seconds", "latent RMSE", "PSNR dB")
    print_columns(header, [_cells(run) for run in (*comparison.runs, comparison.reference)])
    print_lines(["", *_verdict(comparison), f"seed: {comparison.seed}", f"grid: {path}"])


def _cells(run: SchedulerRun) -> tuple[object, ...]:
    name = f"{run.scheduler} *" if run.stochastic else run.scheduler
    if run.error:
        return (name, run.steps, "failed", None, None, None)
    psnr = "inf" if run.psnr is None else f"{run.psnr:.1f}"
    return (name, run.steps, run.unet_calls, f"{run.seconds:.2f}", f"{run.latent_rmse:.4f}", psnr)


def _verdict(comparison: SchedulerComparison) -> list[str]:
    from sdcli.workflows.compare_schedulers import CONVERGED_DB

    lines = [
        f"{run.scheduler}, {run.steps} steps: {run.error}" for run in comparison.runs if run.error
    ]
    if any(run.stochastic for run in comparison.runs):
        lines.append("* adds noise at every step, so it converges to another image")
    fastest = comparison.fastest
    if fastest is None:
        return [
            *lines,
            f"fastest: none reached {CONVERGED_DB:g} dB PSNR; try more --steps",
        ]
    return [
        *lines,
        f"fastest to reach {CONVERGED_DB:g} dB PSNR against the reference: {fastest.scheduler}, "
        f"{fastest.unet_calls} UNet calls ({fastest.steps} steps)",
    ]


def _document(comparison: SchedulerComparison, path: str) -> dict[str, Any]:
    fastest = comparison.fastest
    return {
        "schema": SCHEMA,
        "prompt": comparison.prompt,
        "seed": comparison.seed,
        "grid": path,
        "reference": _run_document(comparison.reference),
        "runs": [_run_document(run) for run in comparison.runs],
        "fastest": {"scheduler": fastest.scheduler, "steps": fastest.steps} if fastest else None,
    }


def _run_document(run: SchedulerRun) -> dict[str, Any]:
    """One run as JSON; a PSNR of null with an RMSE of 0 means equal images."""
    return {
        "scheduler": run.scheduler,
        "stochastic": run.stochastic,
        "steps": run.steps,
        "unet_calls": run.unet_calls,
        "seconds": None if run.seconds is None else round(run.seconds, 4),
        "latent_rmse": run.latent_rmse,
        "psnr_db": run.psnr,
        "converged": run.is_converged,
        "error": None if run.error is None else {"code": run.error.code, "message": str(run.error)},
    }
