"""Check requests against the models that they name, without downloading anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from sdcli.catalog.known_vaes import OWN_VAE, TINY_VAE
from sdcli.checkpoints.model_defaults import ModelDefaults, read_defaults
from sdcli.errors import SdcliError, UsageError
from sdcli.input_images import InputReader
from sdcli.inputs.paths import expand_user
from sdcli.pipeline_spec import PipelineSpec
from sdcli.planning.resolve import find_faults
from sdcli.prompts.field_values import error_field, value_errors
from sdcli.request import REQUEST_FIELDS, GenerationRequest

FieldFault = tuple[str, SdcliError]
"""The field of a request that an error is about, and the error."""


class RequestValidator:
    """Checks requests against their models and VAEs, as far as these are on this machine.

    Models on the hub are not checked until they are downloaded. With `offline`, a model that is not
    on this machine is an error.
    """

    def __init__(self, read_image: InputReader | None = None) -> None:
        self._read_image = read_image
        self._models: dict[PipelineSpec, tuple[ModelDefaults | None, Sequence[FieldFault]]] = {}

    def __call__(self, request: GenerationRequest) -> Iterator[FieldFault]:
        """All errors of the request, each with the field that it is about."""
        spec = request.spec
        known = self._models.get(spec)
        if known is None:
            known = self._models[spec] = _check_model(spec)
        defaults, faults = known
        yield from faults
        if defaults:
            for error in find_faults(request, defaults, self._read_image):
                yield _field_of(error), error
        elif fault := value_errors({"scheduler": (request.scheduler,)}).get("scheduler"):
            yield "scheduler", fault


def _field_of(error: SdcliError) -> str:
    if isinstance(error, UsageError):
        return error_field(error)
    named = error.message.partition(":")[0]
    # "image.corrupt" or "mask.corrupt"
    return named if named in {"prompt", *REQUEST_FIELDS} else error.code.partition(".")[0]


def _check_model(spec: PipelineSpec) -> tuple[ModelDefaults | None, list[FieldFault]]:
    """The defaults of the model, None if it is not here, and the errors of its files."""
    from sdcli.checkpoints import hub
    from sdcli.checkpoints.single_file.model import name_single_file

    folder, defaults = Path(), None
    faults: list[FieldFault] = []
    try:
        folder = hub.fetch_model(replace(spec, offline=True))
        defaults = read_defaults(folder)
        _check_weights(folder, spec)
    except SdcliError as error:
        if not _may_be_downloaded(spec.model, spec, error):
            faults.append(("model", name_single_file(error, spec, folder)))
    try:
        without = replace(spec, text_encoder=None)
        if defaults and (refiner := hub.refiner_spec(spec)):
            defaults = cached_defaults(without)
            _check_weights(hub.fetch_model(replace(refiner, offline=True)), refiner)
    except SdcliError as error:
        defaults = None
        if not _may_be_downloaded(spec.refiner or "", spec, error):
            faults.append(("refiner", error))
    try:
        if defaults and spec.text_encoder:
            defaults = cached_defaults(spec)
    except SdcliError as error:
        defaults = None
        if not _may_be_downloaded(spec.text_encoder or "", spec, error):
            faults.append(("text_encoder", error))
    try:
        _check_vae(spec, folder if defaults else None)
    except SdcliError as error:
        if not _may_be_downloaded(spec.vae or spec.model, spec, error):
            faults.append(("vae", error))
    return defaults, faults


def _check_weights(folder: Path, spec: PipelineSpec) -> None:
    """Raise SdcliError unless the model in `folder` has usable files for all its components."""
    from sdcli.checkpoints.model_index import find_text_encoders
    from sdcli.checkpoints.single_file.model import find_model_weights, name_single_file

    try:
        components = {"unet", *find_text_encoders(folder)}
        for component in sorted(components - ({"text_encoder"} if spec.text_encoder else set())):
            find_model_weights(spec, folder, component)
    except SdcliError as error:
        raise name_single_file(error, spec, folder) from error


def _check_vae(spec: PipelineSpec, folder: Path | None) -> None:
    """Check the VAE, against the model in `folder` if that is here. Raises SdcliError."""
    from sdcli.checkpoints import hub
    from sdcli.checkpoints.vae_selection import select_vae

    local = replace(spec, offline=True)
    if folder:
        select_vae(local, folder)
    elif spec.vae not in (None, OWN_VAE, TINY_VAE):
        hub.fetch_vae(local, Path())


def _may_be_downloaded(name: str, spec: PipelineSpec, error: SdcliError) -> bool:
    """Whether the missing files may be on the hub, and downloading them is allowed."""
    is_missing = error.code in ("model.offline", "model.incomplete")
    return is_missing and not spec.offline and not expand_user(name).exists()


def cached_defaults(spec: PipelineSpec) -> ModelDefaults:
    """Read the defaults of a model without downloading it. Raises ModelError."""
    from sdcli.checkpoints.refiner import fetch_defaults

    return fetch_defaults(replace(spec, offline=True))
