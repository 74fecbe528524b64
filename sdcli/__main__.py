"""The program `sdcli`, also as `python -m sdcli`: in the warm worker if it is asked for."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line and return its exit code."""
    # Imported here and not above: neither typer nor a command is needed for a warm run.
    from sdcli.server.warm_commands import wants_worker

    arguments = sys.argv[1:]
    if wants_worker(arguments) and (code := _run_warm(arguments)) is not None:
        return code
    from sdcli.cli import main as run

    return run(arguments)


def _run_warm(arguments: list[str]) -> int | None:
    """Run a command in the worker; None if it must run here."""
    from sdcli.server.client import WorkerDied, WorkerUnavailable, run
    from sdcli.server.warm_commands import is_quiet

    try:
        return run(arguments)
    except WorkerUnavailable as error:
        if not is_quiet(arguments):
            from sdcli.cli import open_streams
            from sdcli.terminal.console import Console

            open_streams()
            Console().warn(f"the warm worker cannot be used: {error}")
        return None
    except WorkerDied:
        from sdcli.cli import open_streams, report_error
        from sdcli.errors import SdcliError

        open_streams()
        died = SdcliError(
            "the warm worker ended before the command did",
            code="worker.died",
            hint="images that are done are on disk; for the others, run the command again",
        )
        return int(report_error(died, arguments))


if __name__ == "__main__":
    sys.exit(main())
