"""Find a recorded ControlNet, IP-Adapter or image encoder again, by its hash first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

from sdcli.checkpoints.adapters.embedded_addons import is_embedded_addon
from sdcli.checkpoints.adapters.lora_names import hub_file
from sdcli.checkpoints.adapters.recorded_files import recorded_hash
from sdcli.errors import ModelError, SdcliError
from sdcli.inputs.paths import expand_user

_MOST_NEIGHBOURS: Final = 200


@dataclass(frozen=True, kw_only=True)
class NetworkKind:
    """A kind of network that a record names in a field.

    `is_one` tells it from others by its header or configuration; `hash_of` hashes its weights.
    Files have one of the suffixes.
    """

    field: str
    words: str
    suffixes: tuple[str, ...]
    is_one: Callable[[Path], bool]
    hash_of: Callable[[Path], str]

    def locate(self, name: str, sha256: str, folders: Sequence[Path]) -> str:
        """Return the path of a recorded network, or its name on the hub. Raises ModelError.

        What has the recorded hash comes first, in the `folders`, in their order. The hash is "" if
        it is not known.
        """
        named = [expand_user(name), *(folder / Path(name).name for folder in folders)]
        named = [path for path in named if path.exists()]
        if not sha256 and named:
            return str(named[0])
        if found := next((path for path in named if self._hash(path) == sha256), None):
            return str(found)
        if is_embedded_addon(name) or (hub_file(name) and not expand_user(name).exists()):
            return name
        for path in self._neighbours(folders) if sha256 else ():
            if self._hash(path) == sha256:
                return str(path)
        known = f" (SHA-256 {sha256})" if sha256 else ""
        raise ModelError(
            f"the record's {self.words} {name!r}{known} is not on this machine",
            code="model.not_found",
            hint="put it next to the image, or name its folder with --inputs DIR, or another one "
            f"with --set {self.field}=PATH",
        )

    def _neighbours(self, folders: Sequence[Path]) -> Iterator[Path]:
        for folder in dict.fromkeys(folders):
            with suppress(OSError):
                children = (
                    path
                    for path in sorted(folder.iterdir())
                    if path.is_dir() or path.suffix.lower() in self.suffixes
                )
                # Hashing takes seconds for each file; a header shows which of them it can be.
                yield from filter(self.is_one, islice(children, _MOST_NEIGHBOURS))

    def _hash(self, path: Path) -> str | None:
        with suppress(OSError, SdcliError):
            return self.hash_of(path)
        return None


def recorded_hashes(entries: object, key: str, count: int) -> list[str]:
    """Return the hashes under a key of a record's entries, "" for those that are none."""
    known = [e for e in entries if isinstance(e, Mapping)] if isinstance(entries, list) else []
    if len(known) != count:
        return [""] * count
    return [_hash_in(entry, key) for entry in known]


def _hash_in(entry: Mapping[str, Any], key: str) -> str:
    return recorded_hash(entry.get(key)) or ""
