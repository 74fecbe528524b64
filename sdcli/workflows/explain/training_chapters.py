"""Tell of the training pair in three chapters."""

from __future__ import annotations

from typing import Any

from sdcli.story import Chapter, Picture, Plot, Sentence, Story, Table, percent, say
from sdcli.workflows.explain.tell import SCHEMA
from sdcli.workflows.explain.training import NOISES, TrainingPair

_PREDICTED = {
    "epsilon": "the noise that was added",
    "v_prediction": "a mixture of the noise and the image (v-prediction)",
    "sample": "the image without noise",
}


def tell_training(pair: TrainingPair) -> Story:
    """Tell the story of a training pair."""
    caption = f"caption: {pair.caption}" if pair.caption else "no caption"
    return Story(
        title=f"Training on {pair.name}",
        subtitle=f"{caption}, noise of seed {pair.seed}",
        command="",
        chapters=[_tell_noise(pair), _tell_prediction(pair), _tell_errors(pair)],
    )


def training_document(story: Story, pair: TrainingPair) -> dict[str, Any]:
    """Return the story without its pictures for JSON."""
    return {
        "schema": SCHEMA,
        "path": None,
        "trace": None,
        "prompt": pair.caption,
        "seed": pair.seed,
        "pixels_sha256": None,
        "command": story.command,
        "chapters": [chapter.to_dict() for chapter in story.chapters],
    }


def _shown(pair: TrainingPair) -> list[int]:
    """The timesteps with pictures: the first, the last and two between."""
    count = len(pair.errors)
    return sorted({round(i * (count - 1) / 3) for i in range(4)})


def _tell_noise(pair: TrainingPair) -> Chapter:
    first, last = pair.errors[0], pair.errors[-1]
    sentences = [
        say(
            "Training never walks from noise to an image. It takes an image of {numbers:,} "
            "latents, picks a timestep at random, and adds the noise of that timestep at once.",
            numbers=pair.latents.size,
        ),
        say(
            "At timestep {first_timestep} the image keeps {first_signal:percent} of its length, at "
            "timestep {last_timestep} only {last_signal:percent}; noise takes the rest.",
            first_timestep=first.timestep,
            first_signal=first.signal,
            last_timestep=last.timestep,
            last_signal=last.signal,
        ),
    ]
    pictures = [
        Picture(f"t {pair.errors[i].timestep}", pair.render(pair.noisy[i])) for i in _shown(pair)
    ]
    return Chapter(
        title="Noise is added to an image",
        paragraphs=[sentences],
        pictures=[Picture("the image", pair.pixels), *pictures],
    )


def _tell_prediction(pair: TrainingPair) -> Chapter:
    sentences = [
        say(
            "The UNet gets the noisy image, the timestep and the caption. This one predicts "
            "{predicts}. Image and noise both follow from that, because their sum is known. "
            "So each prediction amounts to an image, too.",
            predicts=_PREDICTED.get(pair.prediction_type, pair.prediction_type),
        ),
        say(
            "Training compares the prediction with what was added, and changes the weights a "
            "little to make the error smaller."
        ),
    ]
    pictures = [
        Picture(f"t {pair.errors[i].timestep}", pair.render(pair.predicted[i]))
        for i in _shown(pair)
    ]
    return Chapter(
        title="The model predicts it",
        paragraphs=[sentences],
        pictures=[Picture("the image", pair.pixels), *pictures],
    )


def _tell_errors(pair: TrainingPair) -> Chapter:
    first, last = pair.errors[0], pair.errors[-1]
    sentences = [
        say(
            "From timestep {first_timestep} to {last_timestep}, the error of the predicted noise "
            "goes from {first_noise:percent} to {last_noise:percent}, and the error of the "
            "predicted image from {first_image:percent} to {last_image:percent}. Both are squared "
            "errors, as parts of the noise's square and of the image's variance; each is the mean "
            "of {noises} draws of noise.",
            first_timestep=first.timestep,
            last_timestep=last.timestep,
            first_noise=first.noise,
            last_noise=last.noise,
            first_image=first.image,
            last_image=last.image,
            noises=NOISES,
        ),
        *_opposite(pair),
    ]
    rows = [[e.timestep, percent(e.noise), percent(e.image)] for e in pair.errors]
    lines = {
        "error of the noise": [(e.timestep, e.noise) for e in pair.errors],
        "error of the image": [(e.timestep, e.image) for e in pair.errors],
    }
    return Chapter(
        title="Two errors of one prediction",
        paragraphs=[sentences],
        table=Table(header=["timestep", "error of the noise", "error of the image"], rows=rows),
        plots=[Plot(title="Errors by timestep", x_label="timestep", lines=lines)],
    )


def _opposite(pair: TrainingPair) -> list[Sentence]:
    """What the curves say if they run against each other, as they do for most images."""
    first, last = pair.errors[0], pair.errors[-1]
    if first.noise > last.noise and first.image < last.image:
        return [
            say(
                "One curve alone misleads: where there is hardly anything but noise, the noise is "
                "easy to predict, and the image is hard to guess."
            )
        ]
    return []
