"""Choose the weight files of a component as Diffusers and Transformers choose them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Final, Literal

STEMS: Final[Mapping[str, str]] = {
    "unet": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
    "text_encoder": "model",
    "text_encoder_2": "model",
}
"""Component -> name of its weight file in Diffusers and Transformers, without suffixes."""

CLIP_MODEL: Final = "CLIP model"
"""A whole CLIP model, which is no component of a pipeline."""

_USUAL_STEM: Final = "diffusion_pytorch_model"

PICKLE_SUFFIXES: Final = (".bin", ".ckpt", ".pt", ".pth")
WEIGHT_SUFFIXES: Final = (".safetensors", *PICKLE_SUFFIXES)

# Shards are named NAME-00001-of-00002.safetensors, with the variant before or after the numbers.
_SHARD: Final = re.compile(
    r"(?P<stem>[^.]+?)(\.(?P<before>[^.]+))?-\d{5}-of-\d{5}(\.(?P<after>[^.]+))?\.safetensors"
)
_INDEX: Final = re.compile(
    r"(?P<stem>[^.]+)(\.(?P<first>[^.]+))?\.safetensors(\.(?P<middle>[^.]+))?\.index"
    r"(\.(?P<last>[^.]+))?\.json"
)


_TOKENIZER_FILES: Final = re.compile(
    r"config\.json|vocab\.json|merges\.txt|tokenizer(_config)?\.json|special_tokens_map\.json"
)

Transform = Literal["none", "matrix", "transpose", "query", "key", "value"]
"""Change of a tensor: a 1x1 convolution to a matrix, transposed, or one third of its rows."""

_THIRDS: Final[Mapping[Transform, int]] = {"query": 0, "key": 1, "value": 2}


@dataclass(frozen=True)
class TensorSource:
    """The tensor of a single file that one tensor of a component is made from."""

    name: str
    transform: Transform = "none"

    @property
    def third(self) -> int | None:
        """Which third of the rows is taken, None for all."""
        return _THIRDS.get(self.transform)

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape after the change of a tensor with this shape."""
        if self.transform == "matrix" and shape[2:] == (1, 1):
            return shape[:2]
        if self.transform == "transpose":
            return shape[::-1]
        return shape if self.third is None else (shape[0] // 3, *shape[1:])


@dataclass(frozen=True, kw_only=True)
class WeightFiles:
    """The files that hold the weights of one component, in the order in which they are loaded.

    `path` is the file that was chosen: the only one, or the index that names the shards. For an
    index, `tensors` maps the name of each tensor to the name of its shard. For a single file that
    holds a whole model, `sources` maps each tensor of the component to its origin in the file.
    """

    path: Path
    files: tuple[Path, ...]
    tensors: Mapping[str, str] | None = None
    sources: Mapping[str, TensorSource] | None = None

    @property
    def variant(self) -> str | None:
        """The variant in the name of `path`, such as `fp16`."""
        return variant_of(self.path.name)


def stem_of(component: str) -> str:
    """Return the name of a component's weight file, without suffixes."""
    if component in (CLIP_MODEL, "image_encoder"):
        component = "text_encoder"
    return STEMS.get(component, _USUAL_STEM)


def convert_hint(source: Path, target: Path) -> str:
    """Return the hint with the command that turns a pickle into safetensors."""
    return f"convert it safely: sdcli models convert {quote(str(source))} {quote(str(target))}"


def choose_weight_file(names: Iterable[str], stem: str, variant: str | None) -> str | None:
    """Return the safetensors file, or index of shards, to load among a component's file names.

    The requested variant comes first, then the plain files, which is Diffusers' rule for partial
    variants. A component with variants only gives the first of them, so that a repository with
    nothing but fp16 works without an option. Of a file and an index with the same variant,
    Diffusers loads the index; Transformers, the library of the text encoder, the file. Returns None
    if there is neither.
    """
    names = sorted(names)
    prefer_index = stem != STEMS["text_encoder"]
    for wanted in dict.fromkeys((variant, None)):
        for name in _names_of_variant(stem, wanted, prefer_index):
            if name in names:
                return name
    # non_ema holds the weights for further training, which draw worse.
    variants = [name for name in names if _is_choosable(name, stem) and "non_ema" not in name]
    return variants[0] if variants else None


def choose_files(names: Iterable[str], stem: str, variant: str | None) -> list[str]:
    """Return all files to download for a component: the chosen one, and the shards of an index."""
    names = list(names)
    chosen = choose_weight_file(names, stem, variant)
    if chosen is None:
        return []
    if not chosen.endswith(".json"):
        return [chosen]
    shards = [
        name
        for name in names
        if (match := _SHARD.fullmatch(name))
        and match["stem"] == stem
        and (match["before"] or match["after"]) == variant_of(chosen)
    ]
    return [chosen, *shards]


def text_encoder_files(names: Iterable[str], variant: str | None) -> list[str]:
    """Select the files of a repository that has a text encoder at its top level."""
    names = list(names)
    weights = choose_files(names, STEMS["text_encoder"], variant)
    if not weights or "config.json" not in names:
        return []
    return [*weights, *(name for name in names if _TOKENIZER_FILES.fullmatch(name))]


def variant_of(name: str) -> str | None:
    """Return the variant in a file name: `fp16` for `model.fp16.safetensors`, None without one."""
    if match := _INDEX.fullmatch(name):
        return match["first"] or match["middle"] or match["last"]
    parts = name.split(".")
    return parts[1] if len(parts) == 3 else None


def _names_of_variant(stem: str, variant: str | None, prefer_index: bool) -> Iterator[str]:
    index = f"{stem}.safetensors.index"
    if variant is None:
        pair = (f"{index}.json", f"{stem}.safetensors")
        yield from pair if prefer_index else pair[::-1]
        return
    # The second name is the one that Diffusers wrote before 2025. The last is one that neither
    # library knows, but some repositories have.
    indices = (f"{index}.{variant}.json", f"{stem}.safetensors.{variant}.index.json")
    file = f"{stem}.{variant}.safetensors"
    yield from (*indices, file) if prefer_index else (file, *indices)
    yield f"{stem}.{variant}.safetensors.index.json"


def _is_choosable(name: str, stem: str) -> bool:
    if match := _INDEX.fullmatch(name):
        return match["stem"] == stem
    is_file = name.startswith(f"{stem}.") and name.endswith(".safetensors")
    return is_file and name.count(".") == 2 and not _SHARD.fullmatch(name)
