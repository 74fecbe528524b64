"""Read how an image was made, whichever program made it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from sdcli.errors import UsageError
from sdcli.interop.export import to_command, to_request_fields
from sdcli.interop.readers import read_foreign
from sdcli.request import REQUEST_FIELDS
from sdcli.storage.metadata.record import record_request

_SIDES: Final = ("width", "height")
_HIDDEN: Final = frozenset({"count", "device", "offline", *_SIDES})
"""Fields that do not tell images apart."""


def read_settings(path: Path, info: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the command that reproduces an image ("" if unknown), and its settings by name.

    `info` is what `read_image_info` returned for it. The settings are named as options, with the
    extra columns of its prompt file.
    """
    record = info["record"]
    request: Mapping[str, Any] = {}
    extra: object = {}
    command = ""
    # A request that no command line can express still has settings.
    with suppress(UsageError):
        if record is not None:
            request, extra = record["request"], record.get("extra")
            command = to_command(record_request(record, path).to_dict())
        elif foreign := read_foreign(path, info["parameters"]):
            request, extra = to_request_fields(foreign)[0], {"made by": foreign.generator}
            command = to_command(request)
    size = {"size": f"{info['width']}x{info['height']}"}
    return command, _named_settings(request) | size | _named_extra(extra)


def _named_settings(request: Mapping[str, Any]) -> dict[str, Any]:
    return {
        REQUEST_FIELDS[name].option_name if name in REQUEST_FIELDS else name: value
        for name, value in request.items()
        if value is not None and name not in _HIDDEN
    }


def _named_extra(extra: object) -> dict[str, Any]:
    """The extra columns of an image; one that has the name of a setting is called "extra NAME"."""
    taken = {info.option_name for info in REQUEST_FIELDS.values()} | {"prompt", "size", *_SIDES}
    columns = extra if isinstance(extra, Mapping) else {}
    return {f"extra {name}" if name in taken else name: value for name, value in columns.items()}
