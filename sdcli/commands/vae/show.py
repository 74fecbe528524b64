"""Define `sdcli vae show`: describe a VAE from its files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdcli.commands.options import flags
from sdcli.pipeline_spec import EMBEDDED, PipelineSpec
from sdcli.terminal.printing import print_document

if TYPE_CHECKING:
    from sdcli.checkpoints.vae_info import VaeInfo

Name = Annotated[
    str,
    typer.Argument(
        metavar="VAE", help="A name from `sdcli vae list`, a hub id, a folder or a file."
    ),
]


def show(name: Name, model: flags.Model = EMBEDDED, json: flags.Json = False) -> None:
    """Describe a VAE, and whether it fits a model.

    Nothing is loaded or downloaded.

    \b
    Examples:
      sdcli vae show own
      sdcli vae show tiny --json
      sdcli vae show ./vae-ft-mse-840000-ema-pruned.safetensors
    """
    from sdcli.catalog.known_vaes import find_known_vae
    from sdcli.checkpoints.component_configs import read_config
    from sdcli.checkpoints.hub import fetch_model
    from sdcli.checkpoints.model_defaults import read_defaults
    from sdcli.checkpoints.vae_compatibility import find_mismatch
    from sdcli.checkpoints.vae_selection import read_selected_vae

    spec = PipelineSpec(model=model, vae=name, offline=True)
    folder = fetch_model(spec)
    info = read_selected_vae(spec, folder)
    model_config = read_config(folder / "vae" / "config.json", "vae")
    mismatch = find_mismatch(info, model_config, read_defaults(folder), find_known_vae(name))
    document = _to_document(info) | {
        "model": model,
        "misfit": mismatch.reason if mismatch else None,
    }
    print_document(document if json else _to_facts(document), json)


def _to_document(info: VaeInfo) -> dict[str, Any]:
    return {
        "schema": "sdcli/vae/1",
        "path": str(info.path),
        "weights": str(info.weights.path),
        "class": info.class_name,
        "latent_channels": info.latent_channels,
        "scaling_factor": info.scaling_factor,
        "vae_scale_factor": info.vae_scale_factor,
        "parameters": info.parameters,
        "bytes": info.bytes,
        "dtypes": list(info.dtypes),
        "assumed": list(info.assumptions),
        "config": dict(info.config),
    }


def _to_facts(document: dict[str, Any]) -> dict[str, object]:
    config = {
        f"  {name}": _join_list(value)
        for name, value in document["config"].items()
        if not name.startswith("_") and value is not None
    }
    return {
        "class": document["class"],
        "weights": document["weights"],
        "latent channels": document["latent_channels"],
        "scaling factor": f"{document['scaling_factor']:g}",
        "pixels per latent": document["vae_scale_factor"],
        "parameters": f"{document['parameters'] / 1e6:.2f} M {' '.join(document['dtypes'])}",
        "size": f"{document['bytes'] / 1e6:.1f} MB",
        f"fits {document['model']}": f"no: {document['misfit']}" if document["misfit"] else "yes",
        "assumed": " ".join(document["assumed"]),
        "config": f"from {document['path']}",
        **config,
    }


def _join_list(value: object) -> object:
    return " ".join(map(str, value)) if isinstance(value, list) else value
