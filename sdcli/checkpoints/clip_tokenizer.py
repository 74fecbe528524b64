"""Tokenize text as a model's own tokenizers do, without loading Transformers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sdcli.checkpoints.component_configs import read_config
from sdcli.checkpoints.file_state import cache_by_files
from sdcli.checkpoints.json_files import read_bytes, read_json
from sdcli.errors import CorruptError, ModelError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

POSITIONS: Final = 77
"""Tokens that CLIP's text encoders read at once, with marks."""

_FIRST: Final = "tokenizer"
_MARKS: Final = 2
"""Tokens that mark the start and the end of a text."""

_DEFAULT_SPECIALS: Final = {
    "bos_token": "<|startoftext|>",
    "eos_token": "<|endoftext|>",
    "pad_token": "<|endoftext|>",
    "unk_token": "<|endoftext|>",
}
_WORDS: Final = (
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
)
"""Parts of a text that CLIP's tokenizer never joins."""


@dataclass(frozen=True, eq=False)
class ClipTokenizer:
    """The vocabulary of a text encoder.

    `limit` is the number of tokens that it reads at once, without the two marks, whose ids are
    `bos` and `eos`; `pad` fills what is left.
    """

    tokenizer: Tokenizer
    limit: int
    bos: int
    eos: int
    pad: int

    def __call__(self, text: str) -> list[tuple[int, int, int]]:
        """Return the tokens of a text without marks: id, first character, end."""
        encoding = self.tokenizer.encode(text, add_special_tokens=False)
        pairs = zip(encoding.ids, encoding.offsets, strict=True)
        return [(token, start, end) for token, (start, end) in pairs]

    def piece(self, token: int) -> str:
        """Return a token as the vocabulary spells it, such as `cat</w>`."""
        return self.tokenizer.id_to_token(token) or ""


@dataclass(frozen=True, kw_only=True)
class OtherEncoder:
    """A text encoder in place of a model's first one, which reads `positions` tokens at once.

    `tokenizer` is the folder of its own, None if it has the model's.
    """

    tokenizer: Path | None
    positions: int


def tokenizer_names(folder: Path) -> list[str]:
    """Return the names of the tokenizers of a model, in the order of its text encoders."""
    names = (_FIRST, "tokenizer_2")
    return [name for name in names if (folder / name).is_dir()] or [names[0]]


@dataclass(frozen=True)
class ModelTokenizers:
    """The tokenizers of the model in `folder`, whose files are read once, when they are needed.

    Its attributes raise ModelError or CorruptError.
    """

    folder: Path
    other: OtherEncoder | None = None

    @cached_property
    def limit(self) -> int:
        """How many tokens the text encoders of the model read at once, without marks."""
        names = tokenizer_names(self.folder)
        return min(_limit(*_find(self.folder, name, self.other)) for name in names)

    @cached_property
    def each(self) -> tuple[ClipTokenizer, ...]:
        """The tokenizers, in the order of the text encoders."""
        names = tokenizer_names(self.folder)
        return tuple(load_clip_tokenizer(self.folder, name, self.other) for name in names)


def load_clip_tokenizer(
    folder: Path, name: str = _FIRST, other: OtherEncoder | None = None
) -> ClipTokenizer:
    """Load a tokenizer of the model in `folder`. Raises ModelError or CorruptError."""
    return _load(*_find(folder, name, other))


def _find(folder: Path, name: str, other: OtherEncoder | None) -> tuple[Path, int]:
    """Return the folder of a tokenizer, and the number of positions of its text encoder."""
    if other and name == _FIRST:
        return other.tokenizer or folder / name, other.positions
    return folder / name, _positions(folder / name.replace("tokenizer", "text_encoder"))


@cache_by_files
def _positions(encoder: Path) -> int:
    return int(
        read_config(encoder / "config.json", encoder.name).get("max_position_embeddings", POSITIONS)
    )


@cache_by_files
def _limit(path: Path, positions: int) -> int:
    length = _read_if_there(path / "tokenizer_config.json").get("model_max_length")
    longest = min(positions, length) if isinstance(length, int) else positions
    return max(1, int(longest) - _MARKS)


@cache_by_files
def _load(path: Path, positions: int) -> ClipTokenizer:
    vocabulary, merges = _read_vocabulary(path)
    specials = _read_specials(path)
    try:
        tokenizer = _build(vocabulary, merges, specials)
    # The library raises bare exceptions for a vocabulary that lacks what its merges name.
    except Exception as error:
        raise CorruptError(
            f"{path}: {error}", code="model.corrupt", hint="download the model again"
        ) from error
    ids = {key: int(tokenizer.token_to_id(text) or 0) for key, text in specials.items()}
    return ClipTokenizer(
        tokenizer, _limit(path, positions), ids["bos_token"], ids["eos_token"], ids["pad_token"]
    )


def _build(
    vocabulary: dict[str, int], merges: list[tuple[str, str]], specials: Mapping[str, str]
) -> Tokenizer:
    from tokenizers import AddedToken, Regex, Tokenizer
    from tokenizers.models import BPE
    from tokenizers.normalizers import NFC, Lowercase, Replace
    from tokenizers.normalizers import Sequence as Normalizers
    from tokenizers.pre_tokenizers import ByteLevel, Split
    from tokenizers.pre_tokenizers import Sequence as PreTokenizers

    model = BPE(
        vocab=vocabulary, merges=merges, end_of_word_suffix="</w>", unk_token=specials["unk_token"]
    )
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = Normalizers([NFC(), Replace(Regex(r"\s+"), " "), Lowercase()])
    tokenizer.pre_tokenizer = PreTokenizers(
        [
            Split(Regex(_WORDS), behavior="removed", invert=True),
            ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.add_special_tokens(
        [AddedToken(text, normalized=False) for text in dict.fromkeys(specials.values())]
    )
    return tokenizer


def _read_vocabulary(path: Path) -> tuple[dict[str, int], list[tuple[str, str]]]:
    if (path / "tokenizer.json").exists():
        model = read_json(path / "tokenizer.json").get("model")
        if isinstance(model, Mapping):
            return _checked(path, model.get("vocab"), model.get("merges"))
    if not ((path / "vocab.json").exists() and (path / "merges.txt").exists()):
        raise ModelError(
            f"{path.name}: neither tokenizer.json nor vocab.json and merges.txt in {path.parent}",
            code="model.incomplete",
            hint="download the model again",
        )
    lines = read_bytes(path / "merges.txt").decode("utf-8", "replace").splitlines()
    merges = [line for line in lines if line and not line.startswith("#version")]
    return _checked(path, read_json(path / "vocab.json"), merges)


def _checked(
    path: Path, vocabulary: object, merges: object
) -> tuple[dict[str, int], list[tuple[str, str]]]:
    if isinstance(vocabulary, Mapping) and isinstance(merges, list):
        pairs = [merge.split(" ") if isinstance(merge, str) else merge for merge in merges]
        if all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
            return dict(vocabulary), [(str(first), str(second)) for first, second in pairs]
    raise CorruptError(
        f"{path}: no usable vocabulary", code="model.corrupt", hint="download the model again"
    )


def _read_specials(path: Path) -> dict[str, str]:
    """Return the special tokens by their keys."""
    config = _read_if_there(path / "special_tokens_map.json")
    config |= _read_if_there(path / "tokenizer_config.json")
    specials = dict(_DEFAULT_SPECIALS)
    for key in specials:
        value = config.get(key)
        text = value.get("content") if isinstance(value, Mapping) else value
        if isinstance(text, str) and text:
            specials[key] = text
    return specials


def _read_if_there(path: Path) -> dict[str, Any]:
    return dict(read_json(path)) if path.exists() else {}
