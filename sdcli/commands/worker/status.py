"""Define `sdcli worker status`."""

from __future__ import annotations

from typing import Any

from sdcli.commands.options import flags
from sdcli.terminal.printing import print_document
from sdcli.terminal.tables import format_bytes


def status(json: flags.Json = False) -> None:
    """Show whether a warm worker is running, and its models.

    \b
    Examples:
      sdcli worker status
      sdcli worker status --json
    """
    from sdcli.server.requests import read_status

    found = read_status()
    document = {"schema": "sdcli/worker/1", "running": found is not None, **(found or {})}
    print_document(document if json else _facts(found), json)


def _facts(found: dict[str, Any] | None) -> dict[str, object]:
    if found is None:
        return {"worker": "not running"}
    end = found["idle_limit"] - found["idle_seconds"]
    models = ", ".join(found["models"])
    return {
        "worker": f"{found['state']}, process {found['pid']}",
        "runs": f"{found['calls']} in {found['seconds']:.0f} s, {found['waiting']} waiting",
        "models": f"{models} ({format_bytes(found['weight_bytes'])})" if models else "none yet",
        "ends": f"after {end:.0f} s without a run",
        "used": "yes"
        if found["fits"]
        else "no: --warm replaces it, as its version or environment differs",
    }
