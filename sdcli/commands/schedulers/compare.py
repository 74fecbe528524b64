"""`sdcli schedulers compare`: denoise the same noise with several schedulers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from sdcli.commands.options import flags
from sdcli.commands.options.parsing import parse_size, parse_verbosity
from sdcli.commands.options.spec_flags import SpecFlags
from sdcli.commands.options.typer_options import expand_groups
from sdcli.errors import ExitCode, UsageError
from sdcli.inputs.lists import split_names
from sdcli.pipeline_spec import PipelineSpec
from sdcli.planning.batching import PLANNING_WINDOW
from sdcli.prompts.expansion import RequestTemplate
from sdcli.request import GenerationRequest
from sdcli.run_flags import MessageFlags, OutputFlags, SheetFlags

if TYPE_CHECKING:
    from sdcli.storage.images.destination import Destination
    from sdcli.terminal.console import Console
    from sdcli.terminal.progress import ProgressBar
    from sdcli.workflows.compare_schedulers import ProgressCallbacks
    from sdcli.workflows.scheduler_comparison import SchedulerComparison

_MOST_STEPS = 1000

Prompts = Annotated[list[str] | None, typer.Argument(metavar="PROMPT…", help="What to generate.")]
PromptFile = Annotated[
    str | None,
    typer.Option(
        "--prompts",
        metavar="FILE",
        help="Also generate the prompts of a file, in any format of `sdcli batch`.",
    ),
]
TargetPsnr = Annotated[
    float | None,
    typer.Option(
        "--target-psnr",
        metavar="DB",
        help="Find the fewest UNet calls with which each scheduler is as near to the reference. "
        "Default: 30, of the given --steps only.",
        min=1.0,
        max=100.0,
    ),
]
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
Score = Annotated[
    bool,
    typer.Option(
        "--score",
        help="Also measure how much of what the prompt says is in the image, as `sdcli score` does "
        "for images of the built-in model.",
    ),
]


@dataclass(frozen=True, kw_only=True)
class MeasuringFlags:
    """What is measured besides the distances to the reference."""

    target_psnr: TargetPsnr = None
    score: Score = False


@dataclass(frozen=True, kw_only=True)
class ImageSettings:
    """The settings that all images of a comparison share."""

    guidance: flags.Guidance = None
    negative: flags.Negative = None
    size: flags.Size = None
    seed: flags.Seed = None
    count: flags.Count = 1
    vae_tiling: flags.VaeTiling = None
    guidance_every: flags.GuidanceEvery = None
    feature_cache: flags.FeatureCache = None
    draft: flags.Draft = False

    def template(self, spec: PipelineSpec) -> RequestTemplate:
        """The settings as those of each prompt. Raises UsageError."""
        width, height = parse_size(self.size)
        request = GenerationRequest(
            prompt="",
            negative_prompt=self.negative,
            spec=spec,
            vae_tiling=self.vae_tiling,
            guidance_scale=self.guidance,
            guidance_every=self.guidance_every,
            feature_cache=self.feature_cache,
            draft=self.draft,
            width=width,
            height=height,
            seed=self.seed,
            count=self.count,
        )
        unset = GenerationRequest(prompt="").to_dict()
        values = request.to_dict().items()
        return RequestTemplate(flags={n: (value,) for n, value in values if value != unset[n]})


@expand_groups
def compare(
    *,
    prompts: Prompts = None,
    prompt_file: PromptFile = None,
    schedulers: Schedulers = "DDIM,Euler,Heun,DPM++ 2M,DPM++ 2M Karras,UniPC",
    steps: StepsList = "4,8,16,32",
    reference_steps: ReferenceSteps = None,
    measuring: MeasuringFlags,
    spec: SpecFlags,
    image: ImageSettings,
    sheet: SheetFlags,
    output: OutputFlags,
    json: flags.Json = False,
    messages: MessageFlags,
) -> ExitCode:
    """Compare schedulers on the same prompts and the same noise.

    Prints a table, a plot and the options to use, and writes a labelled sheet. Distances are to
    a run of many steps from the same noise: of several images, means and deviations (±). That
    run computes every step in full, also with --draft and its like.

    \b
    Examples:
      sdcli schedulers compare "a cat and a guitar" --seed 7 -o grid.png
      sdcli schedulers compare "a fish" "a dog" --count 4 --target-psnr 35
      sdcli schedulers compare --prompts prompts/demo.txt --schedulers ddim,euler --score
      sdcli schedulers compare "a fish" --schedulers "euler,euler a" --json
    """
    numbers, names = _numbers(steps), split_names(schedulers, "--schedulers")
    many = _reference_steps(reference_steps, numbers[-1])
    from sdcli.terminal.console import Console
    from sdcli.workflows.compare_schedulers import compare_schedulers
    from sdcli.workflows.prompt_match import PromptJudge

    destination = _destination(output)
    console = Console(verbosity=parse_verbosity(messages.quiet, messages.verbose))
    requests = _requests(prompts or [], prompt_file, image.template(spec.spec()), console)
    images = sum(r.count for r in requests) * (1 + len(names) * len(numbers))
    with console.progress(None if measuring.target_psnr else images) as bar:
        comparison = compare_schedulers(
            requests,
            names,
            numbers,
            reference_steps=many,
            target=measuring.target_psnr,
            judge=PromptJudge() if measuring.score else None,
            callbacks=_callbacks(bar, console),
        )
    _report(comparison, sheet, destination, json=json)
    return ExitCode.PARTIAL if any(run.error for run in comparison.runs) else ExitCode.OK


def _report(
    comparison: SchedulerComparison, sheet: SheetFlags, destination: Destination, *, json: bool
) -> None:
    """Write the sheet, and print the table or the document."""
    from sdcli.commands.schedulers import comparison_report as report
    from sdcli.storage.images.contact_sheet import write_contact_sheet
    from sdcli.terminal.printing import print_document
    from sdcli.workflows.comparison_sheet import draw_comparison

    pixels = draw_comparison(comparison, report.chart_lines(comparison), sheet)
    path = write_contact_sheet(pixels, destination, comparison.prompt, comparison.seed)
    if json:
        print_document(report.comparison_document(comparison, path), json)
    else:
        report.print_comparison(comparison, path)


def _requests(
    prompts: list[str], file: str | None, template: RequestTemplate, console: Console
) -> list[GenerationRequest]:
    """The requests of all prompts. Raises UsageError, also if there is none."""
    from sdcli.workflows.open_prompts import open_prompts

    requests = [r for prompt in prompts for r in template.expand({"prompt": (prompt,)})]
    if file is not None:
        source = open_prompts([file], None, template, False, False, console).source
        while taken := source.take(PLANNING_WINDOW, wait=True):
            requests += taken
    if not requests:
        raise UsageError(
            "no prompt to compare the schedulers on",
            code="usage.prompt",
            hint='sdcli schedulers compare "a cat", or --prompts FILE',
        )
    return requests


def _callbacks(bar: ProgressBar, console: Console) -> ProgressCallbacks:
    from sdcli.workflows.compare_schedulers import ProgressCallbacks

    return ProgressCallbacks(
        on_step=bar.on_step, on_image=lambda: bar.advance(1), warn=console.warn
    )


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


def _destination(output: OutputFlags) -> Destination:
    from sdcli.storage.images.destination import parse_destination

    if output.out == "-":
        raise UsageError(
            "--out -: stdout is used for the table",
            code="usage.out",
            hint="give a file or a folder",
        )
    return parse_destination(output.out, several=False, force=output.force)
