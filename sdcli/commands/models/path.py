"""Define `sdcli models path`: print the path of a model."""

from __future__ import annotations

from sdcli.commands.models.options import ModelsDir, Name
from sdcli.commands.options import flags
from sdcli.terminal.printing import print_path


def path(name: Name, models_dir: ModelsDir = None, json: flags.Json = False) -> None:
    """Print the path of a downloaded model, of a file in your own folders, or of an add-on.

    \b
    Examples:
      sdcli models path madebyollin/taesd
      sdcli models path embedded:layout
      sdcli generate "a castle" -m "$(sdcli models path my-model)"
    """
    from sdcli.workflows.models import locate

    model, found = locate(name, models_dir or ())
    print_path(str(found), json, schema="sdcli/model-path/1", model=model)
