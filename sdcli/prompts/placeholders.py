"""Find the values of the placeholders of file names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePath
from typing import Any, Final

from sdcli.errors import UsageError, did_you_mean
from sdcli.field_metadata import spelling_key
from sdcli.fields.control import short_control_images, short_controlnets
from sdcli.fields.embedding import EMBEDDING, short_embeddings
from sdcli.fields.image import INPUT_FIELDS
from sdcli.fields.ip_adapter import short_ip_adapters, short_ip_images
from sdcli.fields.lora import short_loras
from sdcli.job import Job
from sdcli.name_template import CODE, NameTemplate
from sdcli.prompts.fields import NAMES, SIZE, canonical_field, field_type
from sdcli.request import REQUEST_FIELDS

_INDEX, _FILE, _LINE = "index", "file", "line"
_PLACES: Final = (_INDEX, _FILE, _LINE)
_UNAVAILABLE: Final = frozenset({"count", "lora_dir", "embedding_dir"})
"""Fields that a job does not have."""
_SAMPLES: Final[Mapping[str, object]] = {"int": 1, "float": 1.5}
_PATHS: Final = (
    "model", "vae", "refiner", "text_encoder", "model_config", "refiner_config", "ip_encoder",
    *INPUT_FIELDS,
)  # fmt: skip


_SHORT: Final[Mapping[str, Callable[[str | None], str]]] = {
    "lora": short_loras,
    EMBEDDING: short_embeddings,
    "controlnet": short_controlnets,
    "control_image": short_control_images,
    "ip_adapter": short_ip_adapters,
    "ip_image": short_ip_images,
}
"""Fields whose text has several paths, and what shows them without folders."""


def placeholder_errors(template: NameTemplate, extra: Mapping[str, Any]) -> Iterator[UsageError]:
    """Yield the errors of the placeholders that have no values in a row with these extras."""
    values = {spelling_key(name): value for name, value in extra.items()}
    unknown = [key for key in template.keys if key not in values and not _is_known(key)]
    for key in unknown:
        yield UsageError(
            f"--name-template: unknown placeholder {{{key}}}",
            code=CODE,
            hint=did_you_mean(key, [*extra, *_known_names()]) or _known_hint(extra),
        )
    if not unknown:
        try:
            template.fill(lambda key: values[key] if key in values else _sample(key))
        except UsageError as error:
            yield error


def placeholder_value(job: Job) -> Callable[[str], object]:
    """Return a function from the keys of placeholders to the values of a job."""
    values = {spelling_key(name): value for name, value in job.row.extra.items()}
    return lambda key: values[key] if key in values else _job_value(job, key)


def job_value(job: Job, name: str) -> object:
    """The value of a field of a job, as people write it, without the folder of a file."""
    value = field_value(job, name)
    return PurePath(str(value)).name if name in _PATHS and value else value


def field_value(job: Job, name: str) -> object:
    """The value of a field of a job, as people write it."""
    if name == SIZE:
        return f"{job.width}x{job.height}"
    if name == "scheduler":
        return job.scheduler_label
    if name in _SHORT:
        return _SHORT[name](getattr(job, name))
    return getattr(job, name) if hasattr(job, name) else getattr(job.spec, name)


def _job_value(job: Job, key: str) -> object:
    if key == _INDEX:
        return f"{job.index + 1:04d}"
    if key == _FILE:
        return PurePath(job.row.file).stem
    if key == _LINE:
        return job.row.line or None
    return job_value(job, canonical_field(key))


def _known_hint(extra: Mapping[str, Any]) -> str:
    own = (
        f"this row's columns {', '.join(extra)}" if extra else "columns of the file (--extra keep)"
    )
    return f"a name can have {own}, index, file, line, and any setting, such as seed"


def _is_known(key: str) -> bool:
    try:
        return key in _PLACES or canonical_field(key) not in _UNAVAILABLE
    except UsageError:
        return False


def _known_names() -> list[str]:
    options = [
        REQUEST_FIELDS[name].option_name if name in REQUEST_FIELDS else name
        for name in NAMES
        if name not in _UNAVAILABLE
    ]
    return list(dict.fromkeys([*_PLACES, *options]))


def _sample(key: str) -> object:
    """A value of the type of a field: formats must fit before anything is drawn."""
    if key in (_INDEX, _LINE):
        return 1
    return "text" if key == _FILE else _SAMPLES.get(field_type(canonical_field(key)), "text")
