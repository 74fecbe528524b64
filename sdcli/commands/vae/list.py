"""Define `sdcli vae list`: list the VAEs that have a name."""

from __future__ import annotations

from sdcli.commands.options import flags
from sdcli.pipeline_spec import EMBEDDED
from sdcli.terminal.printing import print_document


def list_vaes(model: flags.Model = EMBEDDED, json: flags.Json = False) -> None:
    """List the VAEs that have a name, and which of them fit a model.

    \b
    Examples:
      sdcli vae list
      sdcli vae list -m ./my-model --json
    """
    from sdcli.workflows import list_vaes as workflow

    rows = workflow.list_vaes(model)
    if json:
        print_document({"schema": "sdcli/vaes/1", "model": model, "vaes": rows}, json)
        return
    from sdcli.terminal.tables import print_columns

    header = ("name", "class", "for", "scaling_factor", "fits", "where", "about")
    print_columns(header, [[_to_cell(row[key]) for key in header] for row in rows])


def _to_cell(value: object) -> object:
    return {True: "yes", False: "no"}.get(value, value) if isinstance(value, bool) else value
