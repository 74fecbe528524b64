"""Find the words of a prompt in its tokens."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from sdcli.attention import PromptWord
from sdcli.prompts.syntax.chunks import Chunk

_WORD_END: Final = "</w>"


def find_weighted_words(
    tokenizer: Any, chunks: Sequence[Chunk], prompt: str
) -> tuple[PromptWord, ...]:
    """Return the words of a prompt with weights, which is read in chunks one after the other.

    The weights are no words.
    """
    length = tokenizer.model_max_length
    special = (tokenizer.bos_token_id, tokenizer.eos_token_id)
    words: list[PromptWord] = []
    ended = True
    for number, chunk in enumerate(chunks):
        for place, token in enumerate(chunk, 1 + number * length):
            end = _end_of_letter(prompt, token.end)
            if ended:
                word = PromptWord(
                    index=len(words), text="", start=token.start, end=end, tokens=(place,)
                )
            else:
                word = words.pop()
                end = max(end, word.end)
                word = replace(word, end=end, tokens=(*word.tokens, place))
            words.append(replace(word, text=prompt[word.start : end]))
            piece = str(tokenizer.convert_ids_to_tokens(token.id))
            ended = piece.endswith(_WORD_END) or token.id in special
    return tuple(words)


def find_words(tokenizer: Any, prompt: str) -> tuple[PromptWord, ...]:
    """Return the words of a prompt that fit into the text encoder, with the tokens of each.

    The pieces of a word are joined, as are the bytes of one letter. Punctuation is a word of its
    own; tokens that the tokenizer adds are none.
    """
    encoded = tokenizer(
        prompt,
        truncation=True,
        max_length=tokenizer.model_max_length,
        return_offsets_mapping=True,
    )
    pieces: list[tuple[int | None, int, int, list[int]]] = []
    ids = encoded.word_ids()
    for position, (start, end) in enumerate(encoded["offset_mapping"]):
        if ids[position] is None:
            continue
        if pieces and (ids[position] == pieces[-1][0] or start < pieces[-1][2]):
            word, first, last, tokens = pieces[-1]
            pieces[-1] = word, first, max(last, end), [*tokens, position]
        else:
            pieces.append((ids[position], start, end, [position]))
    return tuple(
        PromptWord(
            index=index,
            text=prompt[start : _end_of_letter(prompt, end)],
            start=start,
            end=_end_of_letter(prompt, end),
            tokens=tuple(tokens),
        )
        for index, (_, start, end, tokens) in enumerate(pieces)
    )


def _end_of_letter(prompt: str, end: int) -> int:
    # The tokenizer composes letters and accents, and then counts the letter alone.
    while end < len(prompt) and unicodedata.combining(prompt[end]):
        end += 1
    return end
