"""Define `sdcli explain`: tell how an image came about, with the numbers of its own run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdcli.commands.options import flags
from sdcli.commands.options.parsing import parse_verbosity
from sdcli.commands.options.request_flags import RequestFlags
from sdcli.commands.options.target import read_prompt, read_target
from sdcli.commands.options.typer_options import expand_groups
from sdcli.errors import ExitCode, OutputError, UsageError
from sdcli.inputs.paths import expand_user, output_path
from sdcli.run_flags import MessageFlags, TraceFlags

if TYPE_CHECKING:
    from sdcli.request import GenerationRequest
    from sdcli.story import Story
    from sdcli.terminal.console import Console

_SUFFIXES = (".html", ".png")

Target = Annotated[
    str | None,
    typer.Argument(
        metavar="[PROMPT|IMAGE]",
        help="What to generate, or an image that sdcli made, which is generated again.",
        show_default=False,
    ),
]
StoryOut = Annotated[
    str | None,
    typer.Option(
        "--out",
        "-o",
        metavar="FILE",
        help="Write the explanation to an .html or .png file, instead of printing it.",
        show_default=False,
    ),
]
Training = Annotated[
    str | None,
    typer.Option(
        "--training",
        metavar="IMAGE",
        help="Explain what training on this image is: noise is added, and the model predicts it. "
        "PROMPT is its caption.",
        show_default=False,
    ),
]


@expand_groups
def explain(
    *,
    context: typer.Context,
    target: Target = None,
    training: Training = None,
    inputs: flags.Inputs = None,
    out: StoryOut = None,
    force: flags.Force = False,
    trace: TraceFlags,
    json: flags.Json = False,
    messages: MessageFlags,
    request: RequestFlags,
) -> ExitCode:
    """Explain how an image is made from noise, with numbers measured in its own run.

    Generates the image, then generates it with a word replaced, with other noise and with other
    words, and prints what was measured in eleven chapters.

    \b
    Examples:
      sdcli explain "a cat and a guitar on a blue background" --seed 7
      sdcli explain "a red star" -o star.html
      sdcli explain outputs/0001-a-cat-7.png -o cat.png
      sdcli explain --training photo.jpg
    """
    from sdcli.terminal.console import Console

    console = Console(verbosity=parse_verbosity(messages.quiet, messages.verbose))
    path = _check_out(out, force=force)
    if training is not None:
        _check_training(trace.trace, inputs)
        story, document = _explain_training(training, target, context, request, console)
    elif target is None:
        raise UsageError("missing PROMPT or IMAGE", code="usage.missing")
    else:
        wanted, recorded = read_target(
            target, context, request, inputs, console, purpose="explain tells of"
        )
        story, document = _explain_run(wanted, trace.trace, console, force=force)
        if recorded is not None and recorded != document["pixels_sha256"]:
            console.warn(f"{target}: the regenerated image is different (see sdcli replay --check)")
    _deliver(story, document, path, force=force, json=json)
    return ExitCode.OK


def _check_out(out: str | None, *, force: bool) -> Path | None:
    """Check the file before anything is generated."""
    if out is None:
        return None
    from sdcli.storage import files

    path = output_path(out)
    if path.suffix.lower() not in _SUFFIXES or path.is_dir():
        raise UsageError(
            f"--out {out}: not an {' or '.join(_SUFFIXES)} file",
            code="usage.out",
            hint="as in --out cat.html",
        )
    files.prepare_folder(path.parent)
    if path.exists() and not force:
        raise OutputError(
            f"{path} exists", code="output.exists", hint="choose another name, or add --force"
        )
    return path


def _explain_run(
    wanted: GenerationRequest, trace: str | None, console: Console, *, force: bool
) -> tuple[Story, dict[str, Any]]:
    from sdcli.workflows.explain.runs import RUNS, ExplainCallbacks, check_request, run_all
    from sdcli.workflows.explain.tell import story_document, tell

    check_request(wanted)
    with _trace_folder(trace) as folder, console.progress(RUNS) as bar:
        callbacks = ExplainCallbacks(
            on_step=bar.on_step, on_run=lambda: bar.advance(1), warn=console.warn
        )
        run = run_all(wanted, folder, callbacks, force=force)
        story = tell(run)
        return story, story_document(story, run, trace and str(folder))


def _check_training(trace: str | None, inputs: str | None) -> None:
    for option, value in (("--trace", trace), ("--inputs", inputs)):
        if value is not None:
            raise UsageError(f"{option} can't be used with --training", code="usage.training")


def _explain_training(
    image: str,
    caption: str | None,
    context: typer.Context,
    request: RequestFlags,
    console: Console,
) -> tuple[Story, dict[str, Any]]:
    from sdcli.workflows.explain.training import measure_pair, read_caption
    from sdcli.workflows.explain.training_chapters import tell_training, training_document

    path = expand_user(image)
    prompt = read_caption(path) if caption is None else caption
    wanted = read_prompt(prompt, context, request, console, purpose="--training measures")
    with console.progress(1) as bar:
        pair = measure_pair(path, wanted, console.warn)
        story = tell_training(pair)
        bar.advance(1)
    return story, training_document(story, pair)


@contextmanager
def _trace_folder(trace: str | None) -> Iterator[Path]:
    """The folder of --trace, or else a temporary one."""
    from tempfile import TemporaryDirectory

    if trace is not None:
        yield expand_user(trace)
        return
    with TemporaryDirectory() as folder:
        yield Path(folder)


def _deliver(
    story: Story, document: dict[str, Any], path: Path | None, *, force: bool, json: bool
) -> None:
    """Write the file, and print its path, the document or the story."""
    from sdcli.terminal.printing import print_document, print_path

    if path is not None:
        _write(story, path, force=force)
    if json:
        print_document({**document, "path": None if path is None else str(path)}, json=True)
    elif path is not None:
        print_path(str(path), json=False)
    else:
        from sdcli.terminal.story import print_story

        print_story(story)


def _write(story: Story, path: Path, *, force: bool) -> None:
    from sdcli.storage import files

    if path.suffix.lower() == ".html":
        from sdcli.storage.story.page import render_story

        data = render_story(story).encode()
    else:
        from sdcli.storage.images.codec import encode_image
        from sdcli.storage.story.sheet import draw_sheet

        data = encode_image(draw_sheet(story), ".png", None)
    files.write_atomic(path, data, force=force)
