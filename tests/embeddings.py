"""Random textual inversion embeddings in every public format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import save_file
from torch import Tensor

from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER

WIDTH: Final = 128
"""That of the embedded model's text encoder."""


def vectors(count: int, width: int = WIDTH, seed: int = 0) -> Tensor:
    """Random vectors of about the length of a token's."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, width, generator=generator) * 0.05


def alias(*words: str) -> Tensor:
    """The vectors that the embedded model has for words of one token, which stay as they are."""
    from transformers import CLIPTextModel, CLIPTokenizer

    encoder = CLIPTextModel.from_pretrained(EMBEDDED_FOLDER / "text_encoder", dtype=torch.float32)
    tokenizer = CLIPTokenizer.from_pretrained(EMBEDDED_FOLDER / "tokenizer")
    ids = tokenizer(" ".join(words), add_special_tokens=False).input_ids
    assert len(ids) == len(words), ids
    rows: Tensor = encoder.get_input_embeddings().weight.detach()[ids].clone()
    return rows


def _a1111(tensor: Tensor, path: Path) -> None:
    """A1111's file."""
    document = {"string_to_token": {"*": 265}, "string_to_param": {"*": tensor}, "name": "x"}
    torch.save(document, path)


def _original(tensor: Tensor, path: Path) -> None:
    """The file of the first training code, with containers of torch."""
    parameters = torch.nn.ParameterDict({"*": torch.nn.Parameter(tensor)})
    token = {"*": torch.tensor(265)}
    torch.save({"string_to_token": token, "string_to_param": parameters}, path)


def _legacy(tensor: Tensor, path: Path) -> None:
    """A file from before torch 1.6, which is no zip archive."""
    torch.save({"<any>": tensor}, path, _use_new_zipfile_serialization=False)


SINGLE_FORMATS: Final[dict[str, tuple[str, Callable[[Tensor, Path], Any]]]] = {
    "emb_params": (".safetensors", lambda t, path: save_file({"emb_params": t}, path)),
    "half": (".safetensors", lambda t, path: save_file({"emb_params": t.half()}, path)),
    "a word": (".safetensors", lambda t, path: save_file({"<any>": t}, path)),
    "A1111": (".pt", _a1111),
    "original": (".pt", _original),
    "legacy": (".pt", _legacy),
    "Diffusers": (".bin", lambda t, path: torch.save({"<any>": t}, path)),
}
"""Formats of files for one text encoder: their suffixes, and what writes them."""


def write_single(path: Path, tensor: Tensor, kind: str = "emb_params") -> Path:
    """Write a file with the suffix of its format, and return its path."""
    suffix, write = SINGLE_FORMATS[kind]
    file = path.with_suffix(suffix)
    write(tensor.contiguous(), file)
    return file


def write_xl(path: Path, first: Tensor, second: Tensor) -> Path:
    """Write the vectors for the two text encoders of Stable Diffusion XL."""
    tensors = {"clip_l": first.contiguous(), "clip_g": second.contiguous()}
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path)
    return path


class Evil:
    """A pickle of it names a function that would write a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        return open, (str(self._path), "w")


def write_evil(path: Path, marker: Path) -> Path:
    """Write a pickle that would write `marker` when it is loaded."""
    torch.save({"<any>": torch.zeros(WIDTH), "code": Evil(marker)}, path)
    return path
