"""Tell the part of the words: pieces, vectors, attention and influence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sdcli.attention import TOKEN_GROUPS
from sdcli.numerics.prediction import distance, length
from sdcli.story import Chapter, Picture, Sentence, Table, percent, say
from sdcli.trace import PROMPT_EMBEDS
from sdcli.workflows.explain.pictures import heat_pictures, maps_of, thing_maps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sdcli.attention import PromptWord
    from sdcli.storage.trace_reader import Trace
    from sdcli.workflows.explain.runs import ExplainedRun

_END_OF_WORD = "</w>"
# Batches of other texts round otherwise.
_UNMOVED = 1e-3


def tell_pieces(run: ExplainedRun) -> Chapter:
    """How the prompt becomes tokens."""
    trace = run.trace
    words, tokens = trace.words, trace.manifest["tokens"]
    pieces = sum(len(word.tokens) for word in words)
    # Both are in each chunk, and a word may look like them.
    chunks = sum(token["text"] == tokens[0]["text"] and token["word"] is None for token in tokens)
    split = [word for word in words if len(word.tokens) > 1]
    sentences = [
        say("The text encoder reads pieces of words, called tokens."),
        _count_sentence(words, pieces),
        *_split_sentences(split, trace),
        _padding_sentence(chunks, len(tokens) - pieces - 2 * chunks, len(tokens)),
    ]
    rows = [[word.text, " ".join(_pieces(word, trace))] for word in words]
    table = Table(header=["word", "tokens"], rows=rows)
    return Chapter(title="The words become pieces", paragraphs=[sentences], table=table)


def _count_sentence(words: Sequence[PromptWord], pieces: int) -> Sentence:
    marks = sum(not any(map(str.isalnum, word.text)) for word in words)
    facts = {"words": len(words) - marks, "pieces": pieces}
    if not marks:
        return Sentence(
            "Your prompt has {words:word|words}: {pieces:token|tokens}.",
            facts,
        )
    return Sentence(
        "Your prompt has {words:word|words} and {marks:punctuation mark|punctuation marks}: "
        "{pieces:token|tokens}.",
        {**facts, "marks": marks},
    )


def _split_sentences(split: Sequence[PromptWord], trace: Trace) -> list[Sentence]:
    if not split:
        return [say("None of them is split.")] if len(trace.words) > 1 else []
    longest = max(split, key=lambda word: len(word.tokens))
    return [
        say(
            "A word that the tokenizer does not know whole is split: “{split_word}” becomes "
            "{split_pieces} tokens.",
            split_word=longest.text,
            split_pieces=len(longest.tokens),
        )
    ]


def _padding_sentence(chunks: int, padding: int, positions: int) -> Sentence:
    facts = {"padding": padding, "positions": positions}
    if chunks == 1:
        return Sentence(
            "A start token and an end token surround them, and "
            "{padding:padding token fills|padding tokens fill} the rest of the {positions} "
            "positions.",
            facts,
        )
    return Sentence(
        "The negative prompt is longer, so the text is read in {chunks} chunks. Each has a start "
        "token and an end token, and {padding:padding token fills|padding tokens fill} the rest of "
        "the {positions} positions.",
        {"chunks": chunks, **facts},
    )


def _pieces(word: PromptWord, trace: Trace) -> list[str]:
    tokens = trace.manifest["tokens"]
    return [str(tokens[place]["text"]).removesuffix(_END_OF_WORD) for place in word.tokens]


def tell_vectors(run: ExplainedRun) -> Chapter:
    """How each token becomes a vector that depends on those before it."""
    own = run.trace.tensor(PROMPT_EMBEDS)
    moves = [
        distance(a, b) / max(length(a), 1e-12)
        for a, b in zip(own, run.other_words.embeds, strict=True)
    ]
    first, end = run.swapped.tokens[0], run.swapped.tokens[-1] + 1
    count = 1 + sum(len(word.tokens) for word in run.trace.words)
    first_paragraph = [
        say(
            "The text encoder turns each token into a vector of {width} numbers. It is often said "
            "that the prompt becomes one vector. It becomes {vectors}.",
            width=own.shape[1],
            vectors=len(own),
        ),
        say(
            "The vectors depend on each other. With “{swapped}” replaced by “{replacement}”, the "
            "vector of that word moves by {own_move:percent} of its length.",
            swapped=run.swapped.text,
            replacement=run.replacement,
            own_move=moves[first],
        ),
    ]
    # With another number of tokens, the later places are those of other words.
    later = [move for place, move in enumerate(moves) if end <= place < count]
    second = [_before_sentence(max(moves[:first]))]
    if later and _same_tokens(run):
        second.append(
            say(
                "Those of the words after it move by {after_move:percent} on average, although "
                "these words are the same.",
                after_move=sum(later) / len(later),
            )
        )
    return Chapter(title="Each piece becomes a vector", paragraphs=[first_paragraph, second])


def _before_sentence(move: float) -> Sentence:
    if move < _UNMOVED:
        return say(
            "The vectors before it move by {before_move:percent}, because the encoder reads from "
            "left to right: a vector knows only the words before it.",
            before_move=move,
        )
    return say("The vectors before it move by up to {before_move:percent}.", before_move=move)


def _same_tokens(run: ExplainedRun) -> bool:
    """Whether the replacement has as many tokens, so that the later ones keep their places."""
    return bool(run.other_words.tokens == sum(len(word.tokens) for word in run.trace.words))


def tell_attention(run: ExplainedRun) -> Chapter:
    """Which words the patches of the image read."""
    trace, job = run.trace, run.result.job
    shares = {
        group: sum(step["attention"][group] for step in trace.steps) / len(trace.steps)
        for group in TOKEN_GROUPS
    }
    words = thing_maps(trace)
    strongest = max(words, key=lambda shown: shown.share)
    first = [
        say(
            "At every step, each patch of the image asks all tokens what it should become. On "
            "average the words of the prompt get {words_share:percent} of this attention; "
            + (
                "of the things that you named, “{strongest}” gets most, {strongest_share:percent}."
                if len(words) > 1
                else "“{strongest}” gets {strongest_share:percent}."
            ),
            words_share=shares["words"],
            strongest=strongest.word.text,
            strongest_share=strongest.share,
        ),
        say("The map of a word shows which patches read it more than the others do."),
    ]
    second = [
        say(
            "Attention is not importance: the padding, which says nothing, gets "
            "{padding_share:percent}, the start token {start_share:percent} and the end token "
            "{end_share:percent}. The next chapter measures importance.",
            padding_share=shares["padding"],
            start_share=shares["start"],
            end_share=shares["end"],
        )
    ]
    rows = [[w.word.text, percent(w.share), _peak(w, job.width, job.height)] for w in words]
    return Chapter(
        title="Each patch asks the words",
        paragraphs=[first, second],
        table=Table(header=["word", "share of the attention", "highest at x,y"], rows=rows),
        pictures=[Picture("image", run.result.pixels), *heat_pictures(words, run.result.pixels)],
    )


def _peak(shown: Any, width: int, height: int) -> str:
    x, y = shown.peak(width, height)
    return f"{x},{y}"


def tell_influence(run: ExplainedRun) -> Chapter:
    """How far the prediction moves when a word is replaced."""
    job, words = run.result.job, run.replaced
    strongest = max(words, key=lambda shown: shown.share)
    weakest = min(words, key=lambda shown: shown.share)
    first = [
        say(
            "To measure what a word does, replace it, and predict again from the same latents. "
            + (
                "Replacing “{most}” changes the prediction most, by {most_share:percent} of its "
                "length."
                if len(words) > 1
                else "Replacing “{most}” changes the prediction by {most_share:percent} of its "
                "length."
            ),
            most=strongest.word.text,
            most_share=strongest.share,
        )
    ]
    if len(words) > 1:
        first.append(
            say(
                "Replacing “{least}” changes it by {least_share:percent}.",
                least=weakest.word.text,
                least_share=weakest.share,
            )
        )
    first += _attention_of_most(run)
    rows = [
        [
            shown.word.text,
            ", ".join(shown.replacements),
            percent(shown.share),
            _peak(shown, job.width, job.height),
        ]
        for shown in words
    ]
    header = ["word", "replaced by", "change of the prediction", "most at x,y"]
    return Chapter(
        title="What each word does",
        paragraphs=[first],
        table=Table(header=header, rows=rows),
        pictures=heat_pictures(words, run.result.pixels),
    )


def _attention_of_most(run: ExplainedRun) -> list[Sentence]:
    strongest = max(run.replaced, key=lambda shown: shown.share)
    [attention] = maps_of(run.trace, [strongest.word])
    return [
        say(
            "The word that matters most, “{most}”, gets {most_attention:percent} of the attention."
            if len(run.replaced) > 1
            else "“{most}” gets {most_attention:percent} of the attention.",
            most=strongest.word.text,
            most_attention=attention.share,
        )
    ]
