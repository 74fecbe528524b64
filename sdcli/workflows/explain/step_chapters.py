"""Tell of the two ends of a run: the noise, the first prediction, and decoding."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from sdcli.latents import X0
from sdcli.numerics.metrics import cosine
from sdcli.numerics.prediction import (
    contrast,
    length,
    shift_prediction,
    similarity,
)
from sdcli.story import Chapter, Picture, Sentence, say
from sdcli.trace import UNCONDITIONAL

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sdcli.storage.trace_reader import Trace
    from sdcli.workflows.explain.runs import ExplainedRun

# In 1,024 dimensions, random directions have cosines of about 1/32.
_RIGHT_ANGLE = 0.2
# Less of the finished image's contrast than this looks like fog.
_PALE = 0.5
# Less than this would be written as 1.0 times as long.
_LONGER = 1.05


def tell_noise(run: ExplainedRun) -> Chapter:
    """Where the walk begins: far out, at a random point."""
    noise, end = run.trace.noise, run.trace.final
    towards = cosine(noise, end)
    first = [
        say(
            "For this model an image is a point with {numbers:,} coordinates, its latents. Seed "
            "{seed} picks a random point to start from: noise, {noise_length:.1f} from the origin.",
            numbers=noise.size,
            seed=run.result.job.seed,
            noise_length=length(noise),
        ),
        say("The finished image is {end_length:.1f} from the origin.", end_length=length(end)),
        _noise_angle(towards),
    ]
    second = [
        say(
            "It is often said that noise is as likely at any place as at any other. It is not: "
            "nearly all of it lies on a thin shell around the origin, at the square root of the "
            "number of coordinates, here {shell:.1f}. Only the direction is left to chance.",
            shell=math.sqrt(noise.size),
        )
    ]
    return Chapter(
        title="A point far out",
        paragraphs=[first, second],
        pictures=[
            Picture("noise, decoded", run.render(noise)),
            Picture("finished image", run.result.pixels),
        ],
    )


def _noise_angle(towards: float) -> Sentence:
    if abs(towards) < _RIGHT_ANGLE:
        return say(
            "The cosine between the two directions is {noise_cosine:.2f}, almost a right angle: "
            "nothing of the image is in the noise.",
            noise_cosine=towards,
        )
    return say(
        "The cosine between the two directions is {noise_cosine:.2f}, so the image still has "
        "something of its noise.",
        noise_cosine=towards,
    )


def without_words(trace: Trace, step: int) -> NDArray[Any] | None:
    """Return the x_0 that the unconditional output predicts, None if there is none."""
    if not trace.has(UNCONDITIONAL, step):
        return None
    difference = trace.array(UNCONDITIONAL, step) - trace.array("eps", step)
    sigma = trace.steps[step - 1]["sigma"]
    # No field of the record has the type of the model's own file unless it was changed.
    kind = trace.record["scheduler"]["config"].get("prediction_type", "epsilon")
    level = math.inf if sigma is None else float(sigma)
    shifted = shift_prediction(trace.array(X0, step), difference, level, str(kind))
    return shifted.astype("float32")


def tell_first_look(run: ExplainedRun) -> Chapter:
    """What the model predicts from pure noise."""
    trace, end = run.trace, run.trace.final
    x0 = trace.array(X0, 1)
    first = [
        say(
            "The model looks at the noise and predicts the finished image at once. Its similarity "
            "to the finished image is {first_similarity:.2f}, where {perfect} is the same picture "
            "and {unrelated} an unrelated one. (Similarity is the cosine between latents, without "
            "the mean of each channel.)",
            first_similarity=similarity(x0, end),
            perfect=1,
            unrelated=0,
        )
    ]
    pictures = [Picture("prediction of step 1", run.render(x0))]
    unworded = without_words(trace, 1)
    if unworded is not None:
        first += _without_words_sentences(unworded, x0, end)
        pictures.append(Picture("the same without words", run.render(unworded)))
    pictures.append(Picture("finished image", run.result.pixels))
    return Chapter(title="The first look", paragraphs=[first], pictures=pictures)


def _without_words_sentences(
    unworded: NDArray[Any], x0: NDArray[Any], end: NDArray[Any]
) -> list[Sentence]:
    sentences = [
        say(
            "Without your words, from the same noise, the similarity is {unworded_similarity:.2f} "
            "and the contrast {unworded_contrast:percent} of the finished image's.",
            unworded_similarity=similarity(unworded, end),
            unworded_contrast=contrast(unworded, end),
        )
    ]
    if contrast(unworded, end) < _PALE:
        sentences.append(
            say(
                "A picture that pale is not one of the images that the model knows. It is rather "
                "an average of many."
            )
        )
    # Of similar directions, only the longer one is exaggerated.
    ratio = length(x0) / length(end)
    if ratio >= _LONGER:
        sentences.append(
            say(
                "Guidance exaggerates: the first prediction is {first_length:.1f} times as long "
                "as the finished image.",
                first_length=ratio,
            )
        )
    return sentences


def tell_decoding(run: ExplainedRun) -> Chapter:
    """How latents become pixels."""
    latents, pixels = run.trace.final.size, run.result.pixels.size
    height, width = run.result.pixels.shape[:2]
    sentences = [
        say(
            "The walk ends at {numbers:,} numbers. The VAE decodes them to {width} x {height} "
            "pixels of red, green and blue, {values:,} numbers: {factor:.0f} for each one.",
            numbers=latents,
            width=width,
            height=height,
            values=pixels,
            factor=pixels / latents,
        )
    ]
    return Chapter(
        title="Decoding",
        paragraphs=[sentences],
        pictures=[Picture("finished image", run.result.pixels)],
    )
