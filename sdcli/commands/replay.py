"""`sdcli replay`: regenerate images from their embedded metadata."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from sdcli.commands.options import flags
from sdcli.commands.options.parsing import parse_report_format, parse_verbosity
from sdcli.errors import ExitCode
from sdcli.terminal.output import print_lines

Images = Annotated[list[str], typer.Argument(metavar="IMAGE", help="An image that sdcli made.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Change a field, e.g. --set steps=40."),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        help="Hub id or folder of the model. Default: found by the recorded hash or name.",
        show_default=False,
    ),
]
Check = Annotated[
    bool, typer.Option("--check", help="Compare with the image; exit with code 10 if it differs.")
]
CheckedOut = Annotated[
    str | None,
    typer.Option(
        "--out",
        "-o",
        help="Where to write the new images. Default: outputs, or with --check nowhere.",
        metavar="PATH",
        show_default=False,
    ),
]


def replay(
    images: Images,
    set_: Set = None,
    check: Check = False,
    model: Model = None,
    inputs: flags.Inputs = None,
    out: CheckedOut = None,
    force: flags.Force = False,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
    verbose: flags.Verbose = 0,
) -> ExitCode:
    """Regenerate images from their embedded metadata.

    --check reports identical (every pixel), close (visually indistinguishable) or different,
    and what has changed since.

    \b
    Examples:
      sdcli replay outputs/0001-a-cat-7.png --check
      sdcli replay outputs/*.png --check --json
      sdcli replay cat.png --set steps=40 --set scheduler="Euler a" -o other.png
    """
    from sdcli.terminal.console import Console
    from sdcli.workflows import replay as replays

    console = Console(verbosity=parse_verbosity(quiet, verbose))
    recorded = replays.read_images(images, set_ or [], model, inputs=inputs, warn=console.warn)
    if check:
        return _verify_images(recorded, out, force, json)
    from sdcli.runner.deliver import run
    from sdcli.runner.options import RunOptions

    options = RunOptions(
        out=out or "outputs",
        expected_images=len(recorded),
        force=force,
        report=parse_report_format(json, False),
        verbosity=parse_verbosity(quiet, verbose),
    )
    return run(replays.request_source(recorded), options)


def _verify_images(recorded: Any, out: str | None, force: bool, json: bool) -> ExitCode:
    from sdcli.terminal.console import Console
    from sdcli.terminal.json_output import print_json_line
    from sdcli.workflows import replay as replays

    writer = replays.open_writer(out, images=len(recorded), force=force)
    checks = []
    for image in recorded:
        checks.append(check := replays.verify(image, writer))
        if not json:
            _print_check(check)
            if error := replays.mismatch_error(check):
                Console().error(error)
    if json:
        print_json_line({"schema": replays.SCHEMA, "checks": checks})
    return replays.exit_code_of(checks)


def _print_check(check: Mapping[str, Any]) -> None:
    measures = ""
    if check["psnr"] is not None:
        measures = (
            f" (PSNR {check['psnr']} dB, at most {check['max_difference']} of 255, "
            f"{100 * check['moved']:.2f} % of the pixels)"
        )
    lines = [f"{check['path']}: {check['verdict']}{measures}"]
    if check["altered"]:
        lines.append("  the file was changed after it was made")
    for name, (then, now) in check["differences"].items():
        lines.append(f"  {name}: {_word(then)} when recorded, {_word(now)} now")
        if name == "compiled":
            lines.append(f"  add --set compile={'yes' if then else 'no'} to repeat that")
    print_lines(lines)


def _word(value: Any) -> Any:
    return ("no", "yes")[value] if isinstance(value, bool) else value
