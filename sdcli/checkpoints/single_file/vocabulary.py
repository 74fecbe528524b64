"""Build the files of CLIP's tokenizer from the merges that are part of the package."""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Final

_MERGES: Final = Path(__file__).parents[2] / "models" / "clip-vocabulary" / "merges.txt.gz"
_START, _END = "<|startoftext|>", "<|endoftext|>"


def tokenizer_files(pad_token: str) -> dict[str, bytes]:
    """Return the small files of a CLIPTokenizer's folder by name.

    `pad_token` fills prompts up to 77 tokens: "<|endoftext|>" in the CLIP of Stable Diffusion 1,
    "!" in the OpenCLIP models.
    """
    special = {
        "bos_token": _START,
        "eos_token": _END,
        "unk_token": _END,
        "pad_token": pad_token,
    }
    config = {
        **special,
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": 77,
        "do_lower_case": True,
        "add_prefix_space": False,
        "errors": "replace",
    }
    return {
        "special_tokens_map.json": json.dumps(special).encode(),
        "tokenizer_config.json": json.dumps(config).encode(),
    }


def vocabulary_files() -> dict[str, bytes]:
    """Return the files with the vocabulary, which all of CLIP's tokenizers share."""
    return {
        "vocab.json": json.dumps(read_vocabulary(), ensure_ascii=False).encode(),
        "merges.txt": b"#version: 0.2\n" + _read_merges(),
    }


@cache
def read_vocabulary() -> dict[str, int]:
    """Return the number of each of the 49,408 tokens.

    They are the 256 bytes, the bytes at the end of a word, the merges in their order, and two
    special tokens.
    """
    merges = [line.replace(" ", "") for line in _read_merges().decode().splitlines()]
    letters = _byte_letters()
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), *merges, _START, _END]
    return {token: number for number, token in enumerate(tokens)}


def _read_merges() -> bytes:
    return gzip.decompress(_MERGES.read_bytes())


def _byte_letters() -> list[str]:
    """Return a printable letter for each byte; those that print as themselves come first."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    letters = [chr(byte) for byte in printable]
    return letters + [chr(0x100 + n) for n in range(0x100 - len(printable))]
