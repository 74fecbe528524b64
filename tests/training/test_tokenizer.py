"""The tokenizer."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from sdcli.training.tokenizer import LENGTH, byte_symbols, learn_merges, load_tokenizer


def test_words_of_captions_are_one_token_each(folder: Path) -> None:
    tokenizer = load_tokenizer(folder / "tokenizer")
    for word in ("strawberries", "guitar", "background", "purple", "masterpiece"):
        assert len(tokenizer.tokenize(word)) == 1


@given(text=st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=40))
@settings(max_examples=60)
def test_any_text_can_be_encoded(folder: Path, text: str) -> None:
    tokenizer = load_tokenizer(folder / "tokenizer")
    assert tokenizer.unk_token_id not in tokenizer(text, add_special_tokens=False).input_ids


def test_merges_are_learned_most_frequent_first() -> None:
    assert learn_merges(Counter({"aab": 5, "ab": 1}), 2) == [("a", "b</w>"), ("a", "ab</w>")]


def test_every_byte_has_a_printable_symbol() -> None:
    symbols = byte_symbols()
    assert len(set(symbols)) == 256
    assert all(symbol.isprintable() for symbol in symbols)


def test_long_texts_are_cut_to_the_length_of_the_model(folder: Path) -> None:
    ids = load_tokenizer(folder / "tokenizer")("cat " * 200, truncation=True).input_ids
    assert len(ids) == LENGTH
