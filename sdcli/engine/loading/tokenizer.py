"""Load the tokenizer of a model from the checked contents of its known files."""

from __future__ import annotations

import codecs
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from transformers import CLIPTokenizer

from sdcli.checkpoints.component_configs import read_config
from sdcli.checkpoints.json_files import parse_json, read_bytes, shorten
from sdcli.engine.loading.components import loading_errors_as_corrupt_errors
from sdcli.engine.loading.staging import staged_files
from sdcli.errors import CorruptError, ModelError

_CONFIG: Final = "tokenizer_config.json"
_SPECIAL_TOKENS: Final = "special_tokens_map.json"
_JSON_FILES: Final = (
    "tokenizer.json",
    "vocab.json",
    "added_tokens.json",
    _SPECIAL_TOKENS,
)
_TEXT_FILES: Final = ("merges.txt",)
_CONFIG_KEYS: Final = frozenset(
    {
        "add_prefix_space",
        "added_tokens_decoder",
        "additional_special_tokens",
        "bos_token",
        "clean_up_tokenization_spaces",
        "do_lower_case",
        "eos_token",
        "errors",
        "extra_special_tokens",
        "model_max_length",
        "pad_token",
        "padding_side",
        "split_special_tokens",
        "tokenizer_class",
        "truncation_side",
        "unk_token",
    }
)
"""Keys of tokenizer_config.json that describe the tokenizer, and name no code and no file."""


def load_tokenizer(
    path: Path, positions: int, name: str = "tokenizer"
) -> tuple[Any, tuple[str, ...]]:
    """Load the tokenizer in the folder `path`, and return sentences about it, which call it `name`.

    `positions` is the number of tokens that the text encoder takes, which limits those of the
    tokenizer. Raises ModelError or CorruptError.
    """
    files = _read_files(path)
    with (
        staged_files(files) as staged_folder,
        loading_errors_as_corrupt_errors(name, path, staged_folder),
    ):
        tokenizer = CLIPTokenizer.from_pretrained(staged_folder, local_files_only=True)
        length = int(tokenizer.model_max_length)
    if length <= positions:
        return tokenizer, ()
    # Transformers stands a number of 31 digits in for a missing limit.
    tokenizer.model_max_length = positions
    return tokenizer, (
        f"{name}: no usable model_max_length; the text encoder's {positions} tokens are used",
    )


def _read_files(path: Path) -> dict[str, bytes]:
    """Return the contents of the known files. Raises ModelError without a vocabulary."""
    names = {name for name in (*_JSON_FILES, *_TEXT_FILES, _CONFIG) if (path / name).exists()}
    # Without these files Transformers silently builds a tokenizer with an empty vocabulary.
    if "tokenizer.json" not in names and not {"vocab.json", "merges.txt"} <= names:
        raise ModelError(
            f"{path.name}: neither tokenizer.json nor vocab.json and merges.txt in {path.parent}",
            code="model.incomplete",
            hint="download the model again",
        )
    files: dict[str, bytes] = {
        name: read_bytes(path / name) for name in (*_JSON_FILES, *_TEXT_FILES) if name in names
    }
    contents: dict[str, Any] = {
        name: parse_json(path / name, files[name]) for name in _JSON_FILES if name in files
    }
    _check_vocabulary(path, contents)
    _check_special_tokens(path / _SPECIAL_TOKENS, contents.get(_SPECIAL_TOKENS, {}))
    # The libraries take no byte order mark. Writing the vocabulary anew would take 0.1 s.
    files |= {name: files[name].removeprefix(codecs.BOM_UTF8) for name in contents}
    if _CONFIG in names:
        config = read_config(path / _CONFIG, "tokenizer")
        settings = {key: config[key] for key in config if key in _CONFIG_KEYS}
        files[_CONFIG] = json.dumps(settings).encode()
    return files


def _check_vocabulary(path: Path, contents: Mapping[str, Any]) -> None:
    for name in ("vocab.json", "added_tokens.json"):
        # The library counts with 32 bits, and makes room for the largest number.
        if not all(type(i) is int and 0 <= i < 1 << 24 for i in contents.get(name, {}).values()):
            raise CorruptError(
                f"{path / name}: a token has no usable number",
                code="model.corrupt",
                hint="download the file again",
            )


def _check_special_tokens(file: Path, tokens: Mapping[str, Any]) -> None:
    for key, value in tokens.items():
        if key.endswith("_token") and not isinstance(value, str | Mapping):
            raise CorruptError(
                f"{file}: {key} is {shorten(value)}; it must be text or an object with its text",
                code="model.corrupt",
                hint="download the file again",
            )
