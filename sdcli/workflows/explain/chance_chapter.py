"""Tell what chance decides, and what the words do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sdcli.numerics.prediction import distance
from sdcli.story import Chapter, Picture, Sentence, say

if TYPE_CHECKING:
    from sdcli.workflows.explain.runs import ExplainedRun

_SIMILAR_EFFECT = 0.1


def tell_chance(run: ExplainedRun) -> Chapter:
    """What other noise does, and what other words do."""
    end = run.trace.final
    by_noise = distance(end, run.other_noise.final)
    by_words = distance(end, run.other_words.final)
    title = "Same words, other noise; same noise, other words"
    first = [
        say(
            "The same prompt with seed {other_seed} ends at a distance of {noise_distance:.1f} "
            "from this image. The same noise with “{swapped}” replaced by “{replacement}” ends at "
            "a distance of {words_distance:.1f}.",
            other_seed=run.other_noise.result.job.seed,
            noise_distance=by_noise,
            swapped=run.swapped.text,
            replacement=run.replacement,
            words_distance=by_words,
        ),
        _larger_effect(by_noise, by_words),
    ]
    return Chapter(
        title=title,
        paragraphs=[first],
        pictures=[
            Picture("this run", run.result.pixels),
            Picture(f"seed {run.other_noise.result.job.seed}", run.other_noise.result.pixels),
            Picture(
                f"“{run.swapped.text}” replaced by “{run.replacement}”",
                run.other_words.result.pixels,
            ),
        ],
    )


def _larger_effect(by_noise: float, by_words: float) -> Sentence:
    # With other seeds, differences of this size come out the other way.
    if abs(by_noise - by_words) < _SIMILAR_EFFECT * max(by_noise, by_words):
        return say(
            "So here the noise and this one word matter about equally: the prompt says what may "
            "appear, and chance picks one of the images that fit."
        )
    if by_noise > by_words:
        return say(
            "So here the noise decides more than this one word: the prompt says what may appear, "
            "and chance picks one of the many images that fit."
        )
    return say(
        "So here this one word decides more than the noise: chance only picks among the images "
        "that fit the prompt."
    )
