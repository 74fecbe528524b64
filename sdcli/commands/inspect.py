"""`sdcli inspect`: show the metadata of an image, a latents file or a model."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdcli.checkpoints.adapters.embedded_addons import embedded_weights, is_embedded_addon
from sdcli.checkpoints.components import Component, read_components
from sdcli.checkpoints.model_defaults import ModelDefaults, describe_model
from sdcli.checkpoints.weight_files import PICKLE_SUFFIXES
from sdcli.commands.options import flags
from sdcli.errors import UsageError
from sdcli.inputs.image_suffixes import IMAGE_SUFFIXES
from sdcli.inputs.paths import expand_user
from sdcli.pipeline_spec import EMBEDDED, PipelineSpec
from sdcli.request import GenerationRequest
from sdcli.terminal.output import print_data
from sdcli.terminal.printing import print_document

if TYPE_CHECKING:
    from sdcli.interop.foreign_record import ForeignRecord

_WEIGHT_SUFFIXES = (".safetensors", *PICKLE_SUFFIXES)
_LATENTS_SUFFIX = ".latents.safetensors"
_SHOWN_APART = ("schema", "request", "pixels", "scheduler")
_NO_SETTINGS = frozenset({"Version", "version", "app_version", "metadata_scheme", "created_by"})
_MAX_VALUE_LENGTH = 60
_NONE = "none in this image"
_NO_HASH = "not computed: too many pixels (see SDCLI_MAX_PIXELS), or of an unknown range"

Target = Annotated[
    str,
    typer.Argument(
        metavar="IMAGE|LATENTS|MODEL",
        help="An image, latents, a file of weights, a model folder, 'embedded', or an add-on such "
        "as 'embedded:flag'.",
    ),
]
WithHash = Annotated[
    bool, typer.Option("--hash", help="Also compute the SHA-256 of a large file of weights.")
]
AsLine = Annotated[
    bool, typer.Option("--as-prompt-line", help="Print a line for a .jsonl prompt file.")
]
AsCommand = Annotated[
    bool, typer.Option("--as-command", help="Print a command that reproduces the image.")
]


def inspect(
    target: Target = EMBEDDED,
    json: flags.Json = False,
    with_hash: WithHash = False,
    as_prompt_line: AsLine = False,
    as_command: AsCommand = False,
) -> None:
    """Show the metadata of an image, latents, a file of weights or a model.

    Weights are described from their header, pickles without running them. Also reads images made
    by A1111, ComfyUI, SwarmUI, InvokeAI, Fooocus, NovelAI, Draw Things, mflux, dgenerate and
    stable-diffusion.cpp.

    \b
    Examples:
      sdcli inspect outputs/0001-a-cat-7.png
      sdcli inspect outputs/0001-a-cat-7.png --as-command
      sdcli inspect from-a1111.png --as-prompt-line >> prompts.jsonl
      sdcli inspect embedded --json
      sdcli inspect ./my-model
      sdcli inspect ./v1-5-pruned-emaonly.ckpt
    """
    path = embedded_weights(target) if is_embedded_addon(target) else expand_user(target)
    is_weights = path.suffix.lower() in _WEIGHT_SUFFIXES
    if with_hash and (as_prompt_line or as_command or not is_weights):
        raise _no_hash_error()
    if as_prompt_line or as_command:
        if json or (as_prompt_line and as_command):
            raise UsageError(
                "--json, --as-prompt-line and --as-command can't be used together",
                code="usage.json",
            )
        _print_reproduction(path, as_command)
        return
    if is_weights:
        _inspect_tensors(path, with_hash, json)
        return
    if path.is_file() or path.suffix.lower() in IMAGE_SUFFIXES:
        document, facts = _inspect_image(path)
    else:
        document, facts = _inspect_model(target)
    print_document(document if json else facts, json)


def _inspect_tensors(path: Path, with_hash: bool, json: bool) -> None:
    """Show latents that sdcli saved, or any file of weights."""
    from sdcli.inputs.regular_file import check_regular

    check_regular(path)
    if _is_latents(path):
        if with_hash:
            raise _no_hash_error()
        from sdcli.commands.latents.info import info

        info(str(path), json)
        return
    from sdcli.commands.inspect_weights import inspect_weights

    inspect_weights(path, with_hash=with_hash, json=json)


def _is_latents(path: Path) -> bool:
    """Whether a file is named or marked as latents."""
    from sdcli.checkpoints.safetensors_header import read_header
    from sdcli.errors import CorruptError

    if path.name.endswith(_LATENTS_SUFFIX):
        return True
    # What is wrong with a damaged file, the report of its weights says.
    with suppress(CorruptError):
        return read_header(path).metadata.get("schema", "").startswith("sdcli/latents/")
    return False


def _inspect_image(path: Path) -> tuple[dict[str, Any], dict[str, object]]:
    from sdcli.storage.images.codec import read_image_info

    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise _not_an_image_error(f"{path}: not an image and not a model folder")
    document = read_image_info(path)
    facts: dict[str, object] = {
        "file": f"{document['path']} ({document['format']})",
        "size": f"{document['width']}x{document['height']}",
        "pixels sha256": document["pixels_sha256"] or _NO_HASH,
    }
    if record := document["record"]:
        return document, facts | _record_facts(record)
    from sdcli.interop.export import to_request_fields, unmapped_fields
    from sdcli.interop.readers import describe_unreadable, read_foreign, unread_texts
    from sdcli.storage.text import one_line

    foreign = read_foreign(path, document["parameters"])
    if foreign is None:
        unread = {"unread": unread_texts(path)}
        return document | unread, facts | {"record": describe_unreadable(path) or _NONE}
    fields, unmapped = to_request_fields(foreign)
    unmapped |= unmapped_fields(foreign)
    not_found = _not_found(foreign)
    summary = {
        "generator": foreign.generator,
        "request": fields,
        "left": unmapped,
        "not_found": not_found,
        "doubts": list(foreign.doubts),
    }
    facts |= {"made by": foreign.generator, **fields}
    facts |= {name: one_line(f"not found: {place}") for name, place in not_found.items()}
    facts |= {f"doubt {n}": one_line(doubt) for n, doubt in enumerate(foreign.doubts, 1)}
    # Of what a file says, only prompts have lines.
    left = {f"({name})": one_line(str(value)) for name, value in unmapped.items()}
    return document | {"foreign": summary}, facts | left


def _not_found(foreign: ForeignRecord) -> dict[str, str]:
    """The fields that the metadata does not tell, with the reasons; for a prompt always one."""
    from sdcli.interop.export import missing_prompt

    missing = missing_prompt(foreign)
    prompt = {"prompt": missing.removeprefix("prompt not found: ")} if missing else {}
    return prompt | dict(foreign.not_found)


def _print_reproduction(path: Path, as_command: bool) -> None:
    """Print the image's request on one line, and on stderr what could not be mapped to it."""
    from sdcli.interop.export import to_command, to_prompt_line
    from sdcli.interop.readers import describe_unreadable, read_foreign
    from sdcli.storage.images.codec import read_image_info
    from sdcli.storage.metadata import record

    if path.is_file() and path.suffix.lower() not in IMAGE_SUFFIXES:
        raise _not_an_image_error(f"{path}: not an image")
    document = read_image_info(path)
    if document["record"]:
        request = record.record_request(document["record"], path).to_dict()
    elif foreign := read_foreign(path, document["parameters"]):
        request = _foreign_request(path, foreign)
    else:
        unread = describe_unreadable(path)
        raise UsageError(
            f"{path}: {unread or 'has no metadata about how it was made'}",
            code="inspect.no_record",
            hint=None if unread else "metadata is lost when another program saves the image again",
        )
    print_data(to_command(request) if as_command else to_prompt_line(request))


def _foreign_request(path: Path, foreign: ForeignRecord) -> dict[str, Any]:
    """The fields of another program's record. Raises UsageError if its prompt is not found."""
    from sdcli.interop.export import missing_prompt, to_request_fields, unmapped_fields

    if missing := missing_prompt(foreign):
        raise UsageError(
            f"{path}: {missing}",
            code="inspect.no_prompt",
            hint=f"sdcli inspect {shlex.quote(str(path))} shows the rest of its settings",
        )
    request, skipped = to_request_fields(foreign)
    if "prompt" not in request:
        # Raises for a prompt that no request can have, such as one with a NUL.
        GenerationRequest.from_dict({"prompt": foreign.fields["prompt"]})
    _warn_unmapped(foreign, skipped, unmapped_fields(foreign))
    return request


def _warn_unmapped(
    foreign: ForeignRecord, skipped: Mapping[str, object], extra: Mapping[str, str]
) -> None:
    """Warn about settings of another program that are not part of the request, and doubts."""
    from sdcli.interop.foreign_record import shorten
    from sdcli.terminal.console import Console

    for doubt in foreign.doubts:
        Console().warn(doubt)
    for name, place in foreign.not_found.items():
        Console().warn(f"not found: {name}: {place}")
    for name, value in skipped.items():
        Console().warn(f"skipped: {name} {value}")
    settings = [
        (n, shorten(v, _MAX_VALUE_LENGTH)) for n, v in extra.items() if n not in _NO_SETTINGS
    ]
    if settings:
        Console().warn(f"not supported: {', '.join(f'{name} {value}' for name, value in settings)}")


def _no_hash_error() -> UsageError:
    return UsageError(
        "--hash has no effect without a file of weights",
        code="usage.hash",
        hint="e.g. sdcli inspect model.safetensors --hash",
    )


def _not_an_image_error(message: str) -> UsageError:
    hint = f"images end in {', '.join(IMAGE_SUFFIXES)}"
    return UsageError(message, code="usage.file", hint=hint)


def _record_facts(record: Mapping[str, Any]) -> dict[str, object]:
    """The parts of a record, nested ones on one line each; --json prints all of it."""
    rest = {name: value for name, value in record.items() if name not in _SHOWN_APART}
    built = {"scheduler class": record.get("scheduler", {}).get("class")}
    recorded = {"recorded sha256": record.get("pixels", {}).get("sha256")}
    facts = dict(record.get("request", {})) | built | recorded
    return facts | {name: _flatten(value) for name, value in rest.items()}


def _flatten(value: object) -> object:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_flatten(item)}" for name, item in value.items())
    if isinstance(value, list):
        return " ".join(f"{item:g}" if isinstance(item, float) else str(item) for item in value)
    return value


def _inspect_model(target: str) -> tuple[dict[str, Any], dict[str, object]]:
    from sdcli.checkpoints.hub import fetch_model

    folder = fetch_model(PipelineSpec(model=target, offline=True))
    defaults, parts = describe_model(folder), read_components(folder)
    document = {
        "schema": "sdcli/model/1",
        "path": str(folder),
        "defaults": defaults_document(defaults),
        "parts": [asdict(part) | {"has_pickle": part.has_pickle} for part in parts],
    }
    facts: dict[str, object] = {"model": folder, **defaults_document(defaults)}
    facts["xl"] = _flatten(facts["xl"])
    return document, facts | {f"{part.name}/": _component_line(part) for part in parts}


def defaults_document(defaults: ModelDefaults) -> dict[str, Any]:
    """A model's defaults as JSON, with the number of its words instead of the words."""
    facts = asdict(defaults) | {"words": None if defaults.words is None else len(defaults.words)}
    del facts["folder"]
    return facts | {"scheduler": defaults.scheduler or defaults.scheduler_class}


def _component_line(part: Component) -> str:
    if not part.files:
        return part.class_name
    size = f"{part.parameters / 1e6:.2f} M parameters, {part.bytes / 1e6:.1f} MB"
    risk = ", a pickle: loading it could run code" if part.has_pickle else ""
    return f"{part.class_name}, {size}, {' '.join(part.dtypes)}{risk}"
