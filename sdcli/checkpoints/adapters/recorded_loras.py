"""Name LoRAs in records, and find them again by their hash or by their name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from sdcli.checkpoints.adapters.embedded_addons import EMBEDDED_PREFIX, is_embedded_addon
from sdcli.checkpoints.adapters.lora_names import find_lora
from sdcli.checkpoints.adapters.recorded_files import find_recorded, recorded_hash
from sdcli.checkpoints.file_state import cache_by_files
from sdcli.errors import ModelError, SdcliError
from sdcli.field_validation import refuse_separator
from sdcli.fields.lora import SEPARATOR, LoraUse, format_loras, lora_stem, parse_loras
from sdcli.inputs.paths import expand_user
from sdcli.job import Job
from sdcli.request import GenerationRequest

_LENGTH_BYTES: Final = 8
_A1111_DIGITS: Final = 12


def lora_names(job: Job, *, full_paths: bool) -> str | None:
    """Return the job's LoRAs with the names of their files, or with `full_paths` their paths."""
    return format_loras(
        replace(use, name=_full(use.name) if full_paths else _short(use.name))
        for use in parse_loras(job.lora)
    )


def loras_of(job: Job) -> list[dict[str, Any]]:
    """Return the name, the hashes and the weights of each LoRA of a job, as a record has them.

    `a1111_hash` is A1111's: of the file without its header. None if the file is gone.
    """
    hashes = job.lora_sha256.split(SEPARATOR)
    return [
        {
            "name": _short(use.name),
            "sha256": digest.partition(":")[0],
            "a1111_hash": _a1111_hash(use.name),
            "unet": use.unet,
            "text_encoder": use.text_encoder,
        }
        for use, digest in zip(parse_loras(job.lora), hashes, strict=True)
    ]


def locate_loras(
    request: GenerationRequest, record: Mapping[str, Any], folders: Sequence[Path]
) -> GenerationRequest:
    """Return the request with the paths of its recorded LoRAs on this machine.

    A file with the recorded hash comes first, then one with the name. LoRAs that are not the
    recorded ones were chosen by the user, and stay. Raises ModelError.
    """
    recorded = record.get("request")
    if not request.lora or not isinstance(recorded, Mapping):
        return request
    if request.lora != recorded.get("lora"):
        return request
    uses = parse_loras(request.lora)
    entries = record.get("loras")
    if not isinstance(entries, list) or len(entries) != len(uses):
        entries = [{}] * len(uses)
    if request.lora_dir:
        folders = [expand_user(request.lora_dir), *folders]
    located = [_locate(use, entry, folders) for use, entry in zip(uses, entries, strict=True)]
    return replace(request, lora=format_loras(located))


def _locate(use: LoraUse, entry: object, folders: Sequence[Path]) -> LoraUse:
    wanted = recorded_hash(entry.get("sha256")) if isinstance(entry, Mapping) else None
    named = list(_named(use.name, folders))
    if path := find_recorded(wanted, named, folders, [".safetensors"]):
        return replace(use, name=refuse_separator("lora", str(path)))
    if _is_id(use.name):
        return use
    known = f" (SHA-256 {wanted})" if wanted else ""
    raise ModelError(
        f"the record's LoRA {use.name!r}{known} is not on this machine",
        code="model.not_found",
        hint="put it next to the image, or give its folder with --set lora_dir=DIR, or another "
        f"LoRA with --set lora=FILE:{use.weights}",
    )


def _named(name: str, folders: Sequence[Path]) -> Iterator[Path]:
    if is_embedded_addon(name):
        with suppress(SdcliError):
            yield find_lora(name, None, offline=True)
        return
    yield expand_user(name)
    yield from (folder / Path(name).name for folder in folders)


def _is_id(name: str) -> bool:
    return is_embedded_addon(name) or ("/" in name and not expand_user(name).exists())


def _short(name: str) -> str:
    return name if _is_id(name) else Path(name).name


def _full(name: str) -> str:
    return name if _is_id(name) else str(expand_user(name).absolute())


def _a1111_hash(name: str) -> str | None:
    try:
        return _hash_data(find_lora(name, None, offline=True))
    except (SdcliError, OSError):
        return None


@cache_by_files
def _hash_data(path: Path) -> str:
    """Hash the file without its header, so that edited metadata leaves it the same."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        file.seek(_LENGTH_BYTES + length)
        return hashlib.file_digest(file, "sha256").hexdigest()[:_A1111_DIGITS]


def a1111_loras(record: Mapping[str, Any]) -> tuple[list[tuple[LoraUse, str]], str | None]:
    """Return the LoRAs of a record with A1111's names of them, and the text of their hashes."""
    entries = record.get("loras") or []
    uses = [
        (LoraUse(name=e["name"], unet=e["unet"], text_encoder=e["text_encoder"]), _tag_name(e))
        for e in entries
    ]
    hashes = [f"{_tag_name(e)}: {e['a1111_hash']}" for e in entries if e.get("a1111_hash")]
    return uses, ", ".join(hashes) or None


def _tag_name(entry: Mapping[str, Any]) -> str:
    return lora_stem(str(entry["name"]).removeprefix(EMBEDDED_PREFIX))
