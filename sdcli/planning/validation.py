"""Check requests against the models that they name, without a download."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from sdcli.catalog.known_vaes import OWN_VAE, TINY_VAE
from sdcli.checkpoints.model_defaults import ModelDefaults, read_defaults
from sdcli.errors import SdcliError
from sdcli.planning.resolve import find_faults
from sdcli.prompts.field_values import error_field, value_errors
from sdcli.request import GenerationRequest, PipelineSpec


class RequestValidator:
    """Checks requests against their models and VAEs, as far as these are here to be asked.

    What the hub has is known when it is downloaded, and not before; offline, what is not here is
    missing.
    """

    def __init__(self) -> None:
        self._known: dict[PipelineSpec, tuple[ModelDefaults | None, Sequence[FieldFault]]] = {}

    def __call__(self, request: GenerationRequest) -> Iterator[FieldFault]:
        """All that cannot be done, each with the field that it is about."""
        spec = request.spec
        if spec not in self._known:
            self._known[spec] = _find_model_faults(spec)
        defaults, missing = self._known[spec]
        yield from missing
        if defaults:
            yield from ((error_field(error), error) for error in find_faults(request, defaults))
        elif error := value_errors({"scheduler": (request.scheduler,)}).get("scheduler"):
            yield "scheduler", error


FieldFault = tuple[str, SdcliError]


def _find_model_faults(spec: PipelineSpec) -> tuple[ModelDefaults | None, list[FieldFault]]:
    """What the model wants, if that can be told, and what is wrong with it and its VAE."""
    from sdcli.checkpoints import hub, weights
    from sdcli.checkpoints.vae_selection import select_vae

    local, defaults, missing = replace(spec, offline=True), None, []
    try:
        folder = hub.fetch_model(local)
        defaults = read_defaults(folder)
        for part in ("unet", "text_encoder"):
            weights.find_weight_file(folder / part, part, spec.variant)
    except SdcliError as error:
        if not _may_be_downloaded(spec.model, spec, error):
            missing.append(("model", error))
    try:
        if defaults:
            select_vae(local, folder)
        elif spec.vae not in (None, OWN_VAE, TINY_VAE):
            hub.fetch_vae(local, Path())
    except SdcliError as error:
        if not _may_be_downloaded(spec.vae or spec.model, spec, error):
            missing.append(("vae", error))
    return defaults, missing


def _may_be_downloaded(name: str, spec: PipelineSpec, error: SdcliError) -> bool:
    """Whether what lacks may still be downloaded: it is the hub's, and the hub may be asked."""
    waits = error.code in ("model.offline", "model.incomplete")
    return waits and not spec.offline and not Path(name).expanduser().exists()


def cached_defaults(spec: PipelineSpec) -> ModelDefaults:
    """What the model wants, without a download. Raises ModelError."""
    from sdcli.checkpoints.hub import fetch_model

    return read_defaults(fetch_model(replace(spec, offline=True)))
