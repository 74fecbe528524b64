"""`sdcli vae show`: what the files of a VAE say of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdcli.commands.options import flags
from sdcli.request import EMBEDDED, PipelineSpec
from sdcli.terminal.printing import print_document

if TYPE_CHECKING:
    from sdcli.checkpoints.vae_info import VaeInfo

Name = Annotated[
    str, typer.Argument(metavar="VAE", help="A name of the list, a hub id, a folder or a file.")
]


def show(name: Name, model: flags.Model = EMBEDDED, json: flags.Json = False) -> None:
    """Show what the files of a VAE say of it, and whether it fits a model.

    Nothing is loaded and nothing fetched.

    \b
    Examples:
      sdcli vae show own
      sdcli vae show tiny --json
      sdcli vae show ./vae-ft-mse-840000-ema-pruned.safetensors
    """
    from sdcli.catalog.known_vaes import find_known_vae
    from sdcli.checkpoints.hub import fetch_model
    from sdcli.checkpoints.model_defaults import read_defaults, read_json
    from sdcli.checkpoints.vae_info import find_mismatch
    from sdcli.checkpoints.vae_selection import read_selected_vae

    spec = PipelineSpec(model=model, vae=name, offline=True)
    folder = fetch_model(spec)
    facts = read_selected_vae(spec, folder)
    own = read_json(folder / "vae" / "config.json")
    wrong = find_mismatch(facts, own, read_defaults(folder), find_known_vae(name))
    document = _document(facts) | {"model": model, "misfit": wrong.reason if wrong else None}
    print_document(document if json else _facts(document), json)


def _document(facts: VaeInfo) -> dict[str, Any]:
    return {
        "schema": "sdcli/vae/1",
        "path": str(facts.path),
        "weights": str(facts.weights),
        "class": facts.class_name,
        "latent_channels": facts.latent_channels,
        "scaling_factor": facts.scaling_factor,
        "vae_scale_factor": facts.vae_scale_factor,
        "parameters": facts.parameters,
        "bytes": facts.bytes,
        "dtypes": list(facts.dtypes),
        "assumed": list(facts.assumptions),
        "config": dict(facts.config),
    }


def _facts(document: dict[str, Any]) -> dict[str, object]:
    config = {
        f"  {name}": _flat(value)
        for name, value in document["config"].items()
        if not name.startswith("_") and value is not None
    }
    return {
        "class": document["class"],
        "weights": document["weights"],
        "latent channels": document["latent_channels"],
        "scaling factor": f"{document['scaling_factor']:g}",
        "pixels a latent": document["vae_scale_factor"],
        "parameters": f"{document['parameters'] / 1e6:.2f} M {' '.join(document['dtypes'])}",
        "size": f"{document['bytes'] / 1e6:.1f} MB",
        f"fits {document['model']}": f"no: {document['misfit']}" if document["misfit"] else "yes",
        "assumed": " ".join(document["assumed"]),
        "config": f"of {document['path']}",
        **config,
    }


def _flat(value: object) -> object:
    return " ".join(map(str, value)) if isinstance(value, list) else value
