"""`sdcli replay`: images made again from their own records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from sdcli.commands.options import flags
from sdcli.commands.options.parsing import parse_report_format, parse_verbosity
from sdcli.errors import ExitCode

Images = Annotated[list[str], typer.Argument(metavar="IMAGE", help="An image that sdcli made.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Change a field, as in --set steps=40."),
]
Check = Annotated[
    bool, typer.Option("--check", help="Compare with the image; exit 10 when it is another.")
]
CheckedOut = Annotated[
    str | None,
    typer.Option(
        "--out",
        "-o",
        help="Where the new images go: outputs, or with --check nowhere.",
        metavar="PATH",
        show_default=False,
    ),
]


def replay(
    images: Images,
    set_: Set = None,
    check: Check = False,
    out: CheckedOut = None,
    force: flags.Force = False,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
    verbose: flags.Verbose = 0,
) -> ExitCode:
    """Make images again from their own records.

    --check says identical (every pixel), close (no eye tells) or different, and what has changed.

    \b
    Examples:
      sdcli replay outputs/0001-a-cat-7.png --check
      sdcli replay outputs/*.png --check --json
      sdcli replay outputs/0001-a-cat-7.png --set steps=40 --set scheduler="Euler a" -o cat.png
    """
    from sdcli.workflows import replay as replays

    recorded = replays.read_images(images, set_ or [])
    if check:
        return _verify_images(recorded, out, force, json)
    from sdcli.runner.deliver import run
    from sdcli.runner.options import RunOptions

    delivery = RunOptions(
        out=out or "outputs",
        expected_images=len(recorded),
        force=force,
        report=parse_report_format(json, False),
        verbosity=parse_verbosity(quiet, verbose),
    )
    return run(replays.request_source(recorded), delivery)


def _verify_images(recorded: Any, out: str | None, force: bool, json: bool) -> ExitCode:
    from sdcli.terminal.console import Console
    from sdcli.terminal.json_output import print_json_line
    from sdcli.workflows import replay as replays

    shelf = replays.open_writer(out, images=len(recorded), force=force)
    checks = []
    for image in recorded:
        checks.append(found := replays.verify(image, shelf))
        if not json:
            _print_check(found)
            if error := replays.mismatch_error(found):
                Console().error(error)
    if json:
        print_json_line({"schema": replays.SCHEMA, "checks": checks})
    return replays.exit_code_of(checks)


def _print_check(check: Mapping[str, Any]) -> None:
    measured = ""
    if check["psnr"] is not None:
        measured = (
            f" (PSNR {check['psnr']} dB, at most {check['max_difference']} of 255, "
            f"{100 * check['moved']:.2f} % of the pixels)"
        )
    typer.echo(f"{check['path']}: {check['verdict']}{measured}")
    if check["altered"]:
        typer.echo("  the file was altered after it was made")
    for name, (then, now) in check["differences"].items():
        typer.echo(f"  {name}: {then} when recorded, {now} now")
