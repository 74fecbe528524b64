"""Train a byte-pair-encoding tokenizer (Sennrich et al., 2016) in CLIP's format on captions.

The most frequent pair of neighboring symbols is merged into a new symbol, repeatedly. The first
symbols are bytes, so that any text has ids. ``</w>`` marks the end of a word.
"""

import json
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
from transformers import CLIPTokenizer

from sdcli.training.captions import make_caption
from sdcli.training.scenes import sample_for_training

CAPTIONS = 40_000
MERGES = 700
LENGTH = 77
START, END = "<|startoftext|>", "<|endoftext|>"
_WORD = re.compile(r"[a-z]+|[0-9]|[^\sa-z0-9]+")  # CLIP's rule for ASCII, which captions use
_COMMON = """
the of in at by for from with without and or not no near behind front under over inside outside
between beautiful realistic photo photograph painting sketch drawing portrait landscape style art
light dark soft bright colorful simple old young new happy sad wearing holding sitting standing
running flying playing man woman person people girl boy child face hand eyes hair city street
forest river sea lake field garden room table window door wall sky water stone wood metal glass
gold silver one four five many some very highly quality resolution sharp focus detailed
masterpiece best studio lighting sunset sunrise winter summer spring autumn bad ugly blurry low
worst distorted text watermark nude crowd
"""
"""Words that users type and captions lack. Each is one token, so that prompts stay short."""


def byte_symbols() -> list[str]:
    """Return one printable character for each byte, in CLIP's order."""
    printable = [
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    ]
    others = [b for b in range(256) if b not in printable]
    return [chr(b) for b in printable] + [chr(256 + n) for n in range(len(others))]


def learn_merges(words: Counter[str], count: int) -> list[tuple[str, str]]:
    """Return the ``count`` most frequent merges, in order."""
    spellings = {word: (*word[:-1], word[-1] + "</w>") for word in words}
    merges: list[tuple[str, str]] = []
    while len(merges) < count:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, symbols in spellings.items():
            for pair in pairwise(symbols):
                pairs[pair] += words[word]
        if not pairs:
            break
        # The pair itself breaks ties, so that the result does not depend on the order of words.
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        spellings = {word: _merge(symbols, best) for word, symbols in spellings.items()}
    return merges


def _merge(symbols: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    merged: list[str] = []
    for symbol in symbols:
        if merged and (merged[-1], symbol) == pair:
            merged[-1] += symbol
        else:
            merged.append(symbol)
    return tuple(merged)


def train_tokenizer(folder: Path, seed: int) -> None:
    """Train on random captions, and write ``vocab.json`` and ``merges.txt`` to ``folder``."""
    rng = np.random.default_rng(seed)
    words: Counter[str] = Counter()
    for _ in range(CAPTIONS):
        words.update(_WORD.findall(make_caption(rng, sample_for_training(rng)).lower()))
    words.update(dict.fromkeys(_COMMON.split(), 20))
    merges = learn_merges(words, MERGES)
    symbols = byte_symbols()
    vocabulary = [*symbols, *(s + "</w>" for s in symbols), *(a + b for a, b in merges), START, END]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(vocabulary)}))
    lines = ["#version: 0.2", *(f"{a} {b}" for a, b in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n")


def load_tokenizer(folder: Path) -> CLIPTokenizer:
    """Load the tokenizer for use in Diffusers."""
    vocabulary = json.loads((folder / "vocab.json").read_text())
    merges = [tuple(line.split()) for line in (folder / "merges.txt").read_text().splitlines()[1:]]
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=LENGTH)
