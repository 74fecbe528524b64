"""Find the add-ons that come with the embedded model, which are named embedded:NAME."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sdcli.errors import ModelError, closest, quoted

EMBEDDED_PREFIX: Final = "embedded:"

_MODELS: Final = Path(__file__).parents[2] / "models"
_NETWORK: Final = "diffusion_pytorch_model.safetensors"


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """A kind of add-on: its option, the folder of all of the kind, and what one of them is."""

    words: str
    option: str
    folder: Path
    pattern: str

    @property
    def paths(self) -> dict[str, Path]:
        """The path of each by its name."""
        files = sorted(self.folder.glob(self.pattern))
        # What has a configuration is the folder of it.
        paths = [path if path.parent == self.folder else path.parent for path in files]
        return {path.stem: path for path in paths}


EMBEDDED_LORAS: Final = _MODELS / "tiny-emoji-128-loras"
EMBEDDED_CONTROLNETS: Final = _MODELS / "tiny-emoji-128-controlnets"
EMBEDDED_EMBEDDINGS: Final = _MODELS / "tiny-emoji-128-embeddings"

_KINDS: Final[Mapping[str, _Kind]] = {
    "LoRA": _Kind(words="a LoRA", option="--lora", folder=EMBEDDED_LORAS, pattern="*.safetensors"),
    "ControlNet": _Kind(
        words="a ControlNet",
        option="--controlnet",
        folder=EMBEDDED_CONTROLNETS,
        pattern="*/config.json",
    ),
    "embedding": _Kind(
        words="an embedding",
        option="--embedding",
        folder=EMBEDDED_EMBEDDINGS,
        pattern="*.safetensors",
    ),
}


def is_embedded_addon(name: str) -> bool:
    """Whether a name is that of an add-on that comes with the embedded model, existing or not."""
    return name.startswith(EMBEDDED_PREFIX)


def find_embedded(name: str, kind: str | None = None) -> Path:
    """Return the file or folder of an add-on, such as embedded:flag, of any kind or of one.

    Raises ModelError for a name that none has.
    """
    wanted = name.removeprefix(EMBEDDED_PREFIX)
    known = {key: row.paths for key, row in _KINDS.items() if kind in (None, key)}
    for found in known.values():
        if wanted in found:
            return found[wanted]
    names = [EMBEDDED_PREFIX + stem for found in known.values() for stem in found]
    others = (row for row in _KINDS.values() if wanted in row.paths)
    if other := next(others, None):
        hint = f"it is {other.words}: {other.option} {name}"
    else:
        near = closest(name, names)
        hint = f"the embedded model has {', '.join(names)}"
        hint = f"did you mean {near}? ({hint})" if near else hint
    raise ModelError(f"no {kind or 'add-on'} {quoted(name)}", code="model.not_found", hint=hint)


def embedded_hint(name: str, kind: str | None = None) -> str | None:
    """Return a hint for a name without its prefix, in capitals or of another kind, if it is one."""
    wanted = name.lower().removeprefix(EMBEDDED_PREFIX)
    full = EMBEDDED_PREFIX + wanted
    for key, row in _KINDS.items():
        if wanted in row.paths and kind in (None, key):
            return f"did you mean {full}?"
        if wanted in row.paths and wanted != name.lower():
            return f"{full} is {row.words}: {row.option} {full}"
    return None


def embedded_weights(name: str) -> Path:
    """Return the file of weights of an add-on of any kind. Raises ModelError."""
    path = find_embedded(name)
    return path / _NETWORK if path.is_dir() else path
