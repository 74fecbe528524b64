"""`sdcli vae list`: the VAEs that have a name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sdcli.commands.options import flags
from sdcli.request import EMBEDDED, PipelineSpec
from sdcli.terminal.printing import print_document


def list_vaes(model: flags.Model = EMBEDDED, json: flags.Json = False) -> None:
    """List the VAEs that have a name, and which of them fit a model.

    \b
    Examples:
      sdcli vae list
      sdcli vae list -m ./my-model --json
    """
    rows = [*_offered_vaes(model), *_known_vaes(model)]
    if json:
        print_document({"schema": "sdcli/vaes/1", "model": model, "vaes": rows}, json)
        return
    from sdcli.terminal.tables import print_columns

    header = ("name", "class", "for", "scaling_factor", "fits", "where", "about")
    print_columns(header, [[_to_document(row[key]) for key in header] for row in rows])


def _to_document(value: object) -> object:
    return {True: "yes", False: "no"}.get(value, value) if isinstance(value, bool) else value


def _offered_vaes(model: str) -> list[dict[str, Any]]:
    """What the model's folder holds."""
    from sdcli.catalog.known_vaes import OWN_VAE, TINY_VAE
    from sdcli.checkpoints.hub import fetch_model
    from sdcli.checkpoints.model_defaults import read_defaults
    from sdcli.checkpoints.vae_selection import read_selected_vae

    folder = fetch_model(PipelineSpec(model=model, offline=True))
    rows = []
    for name, inside, about in (
        (OWN_VAE, "vae", "the model's own"),
        (TINY_VAE, "vae_tiny", "its small one, for previews"),
    ):
        if (folder / inside).is_dir():
            facts = read_selected_vae(PipelineSpec(model=model, vae=name, offline=True), folder)
            rows.append(
                {
                    "name": name,
                    "class": facts.class_name,
                    "for": read_defaults(folder).family,
                    "scaling_factor": facts.scaling_factor,
                    "fits": True,
                    "where": str(facts.path),
                    "about": about,
                }
            )
    return rows


def _known_vaes(model: str) -> list[dict[str, Any]]:
    """The aliases of the table; "cached" needs no network, others are fetched when used."""
    from sdcli.catalog.known_vaes import UNKNOWN_FAMILY, VAES
    from sdcli.checkpoints.hub import fetch_model
    from sdcli.checkpoints.model_defaults import read_defaults

    family = read_defaults(fetch_model(PipelineSpec(model=model, offline=True))).family
    cache = _cached_ids()
    return [
        {
            "name": row.name,
            "class": row.class_name,
            "for": " ".join(sorted(f.replace("Stable Diffusion ", "SD ") for f in row.families)),
            "scaling_factor": row.scaling_factor,
            "fits": None if family == UNKNOWN_FAMILY else family in row.families,
            "where": row.repo + (" (cached)" if _is_cached(cache, row.repo) else ""),
            "about": row.description,
        }
        for row in VAES
    ]


def _cached_ids() -> Path:
    home = os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface"
    return Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub")


def _is_cached(cache: Path, repo: str) -> bool:
    return (cache / f"models--{repo.replace('/', '--')}").is_dir()
