"""`sdcli generate`: prompts to images."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sdcli.commands.options import flags
from sdcli.commands.options.parsing import parse_batch_size
from sdcli.commands.options.request_flags import RequestFlags
from sdcli.commands.options.run_options import RunFlags
from sdcli.commands.options.typer_options import expand_groups
from sdcli.errors import ExitCode, UsageError
from sdcli.inputs.text_decoding import LINE, NUL
from sdcli.inputs.typed_quotes import has_typographic_quotes, quote_words
from sdcli.planning.resolve import random_seed
from sdcli.prompts.entry_expander import EntryExpander
from sdcli.prompts.expansion import RequestTemplate
from sdcli.prompts.formats import EXTENSIONS
from sdcli.prompts.readers.txt import read_plain_lines, read_plain_records
from sdcli.prompts.sources import IterableSource, RequestSource, StreamSource
from sdcli.run_flags import ExpansionFlags, InputFlags, TraceFlags
from sdcli.terminal.printing import print_path

if TYPE_CHECKING:
    from sdcli.workflows.xy_grid import XYGrids

STDIN = "-"

Prompts = Annotated[
    list[str],
    typer.Argument(
        metavar="PROMPT",
        help="What to generate; - reads one prompt per line from stdin as they arrive.",
    ),
]


@expand_groups
def generate(
    *,
    context: typer.Context,
    prompts: Prompts,
    request: RequestFlags,
    expansion: ExpansionFlags,
    source: InputFlags,
    batch_size: flags.BatchSize = "1",
    trace: TraceFlags,
    run_flags: RunFlags,
) -> ExitCode:
    """Generate images from prompts and print their paths.

    Options you leave out use the model's defaults. A list or a range, as in --steps 10,20
    or --seed 1..4 or --guidance 2..8:0.5, is a sweep: every combination is generated.

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
    if expansion.grid and not request.has_seed():
        # Every cell of the grid must start from the same noise.
        request = request.with_seed(random_seed())
    template = request.template(context, expansion)
    grids = _open_grids(prompts, template, expansion, run_flags)
    count = _count_images(prompts, template)
    _check_trace(trace, count)
    options = run_flags.options(
        expected_images=count,
        trace=trace.trace,
        on_result=grids.add if grids else None,
    )
    limit = parse_batch_size(batch_size)
    _warn_about_arguments(prompts, template, options.verbosity)
    from sdcli.runner.deliver import run

    code = run(_open_prompts(prompts, template, null=source.null), options, batch_size=limit)
    for path in grids.write(options) if grids else ():
        print_path(path, run_flags.report.jsonl, schema="sdcli/grid/1")
    return code


def _open_grids(
    prompts: list[str], template: RequestTemplate, expansion: ExpansionFlags, run_flags: RunFlags
) -> XYGrids | None:
    sheet = expansion.sheet()
    if expansion.grid is None:
        return None
    from sdcli.workflows.xy_grid import XYGrids, parse_grid_axes

    rows = 2 if prompts == [STDIN] else len(prompts)
    axes = parse_grid_axes(expansion.grid, template, rows, json=run_flags.report.json)
    return XYGrids(axes=axes, sheet=sheet)


def _check_trace(flags: TraceFlags, count: int | None) -> None:
    if flags.trace is not None and count != 1:
        images = "prompts from stdin" if count is None else f"{count} images"
        raise UsageError(
            f"--trace: a trace is of one image, but this run has {images}",
            code="usage.trace",
            hint="give one prompt, without --count and lists of values",
        )


def _warn_about_arguments(prompts: list[str], template: RequestTemplate, verbosity: int) -> None:
    """Warn about words without quotes, names of files and sweeps that use a setting in part only.

    Says that a terminal is read.
    """
    from sdcli.terminal.console import Console

    console = Console(verbosity=verbosity)
    for note in template.notes({"prompt": ("",)}):
        console.warn(note)
    if prompts == [STDIN]:
        if sys.stdin.isatty():
            console.summary("reading prompts from the terminal, one per line; end with Ctrl-D")
        return
    is_word = [bool(prompt) and not any(map(str.isspace, prompt)) for prompt in prompts]
    quoted_command = f"sdcli generate {quote_words(prompts)}"
    if has_typographic_quotes([p for p, single in zip(prompts, is_word, strict=True) if single]):
        console.warn(
            "typographic quotes are drawn as letters; a shell needs straight ones: "
            f"{quoted_command}"
        )
    elif any(first and second for first, second in pairwise(is_word)):
        console.warn(
            f"these are {len(prompts)} prompts, some of one word; did you forget quotes? "
            f"{quoted_command}"
        )
    for prompt in prompts:
        # Unlike Path.is_file, this raises nothing for text that cannot be a path.
        if Path(prompt).suffix and os.path.isfile(prompt):
            verb = "batch" if Path(prompt).suffix.lower()[1:] in EXTENSIONS else "inspect"
            console.warn(f"{prompt} is drawn as a prompt; to read it: sdcli {verb} {prompt}")


def _open_prompts(prompts: list[str], template: RequestTemplate, *, null: bool) -> RequestSource:
    if prompts == [STDIN]:
        return StreamSource(
            sys.stdin.fileno(),
            read_plain_records if null else read_plain_lines,
            EntryExpander(template).expand,
            separator=NUL if null else LINE,
            wildcards=template.wildcards,
        )
    if STDIN in prompts:
        raise UsageError(
            "- reads prompts from stdin and can't be used with other prompts",
            code="usage.prompt",
            hint="give all prompts on stdin, or all on the command line",
        )
    if null:
        raise UsageError(
            "--null has no effect without - for stdin",
            code="usage.null",
            hint="sdcli generate - --null, or leave it out",
        )
    for replacement in template.replacements:
        if not any(replacement.old in prompt for prompt in prompts):
            raise replacement.unused_error()
    _check_requests(prompts, template)
    return IterableSource(
        (request for prompt in prompts for request in template.expand({"prompt": (prompt,)})),
        template.wildcards,
    )


def _check_requests(prompts: list[str], template: RequestTemplate) -> None:
    """Raise the first error of several requests, before an image of the valid ones is made."""
    from sdcli.planning.validation import RequestValidator
    from sdcli.runner.input_images import read_image

    sample = replace(template, sample=True)
    requests = (r for prompt in prompts for r in sample.expand({"prompt": (prompt,)}))
    validator = RequestValidator(read_image)
    first = [*islice(requests, 2)]
    # A single one is planned immediately.
    for request in chain(first, requests) if len(first) > 1 else ():
        for _, error in validator(request):
            raise error


def _count_images(prompts: list[str], template: RequestTemplate) -> int | None:
    """The number of images, None if it is not known in advance."""
    counts = [
        None if prompts == [STDIN] else template.count_images({"prompt": (prompt,)})
        for prompt in prompts
    ]
    return None if None in counts else sum(count for count in counts if count)
