"""Add noise to an image step by step, as the training of its model does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sdcli.errors import UsageError
from sdcli.pipeline_spec import PipelineSpec
from sdcli.run_flags import SheetFlags
from sdcli.runner.pipeline_cache import engine_lock

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TRAIN_TIMESTEPS: Final = 1000
_DEFAULT_STEPS: Final = 8
_DEFAULT_SHEET: Final = SheetFlags()
LATENTS, DECODED = "latents as colours", "decoded by the VAE"


@dataclass(frozen=True, kw_only=True, eq=False)
class NoisedImage:
    """An image at rising timesteps, from the clean image on.

    `rows` has frames (height, width, 3) by the way they are rendered: as the colours of the latents
    themselves, if the model has a linear approximation, and as the VAE decodes them.
    """

    title: str
    timesteps: tuple[int, ...]
    rows: Mapping[str, Sequence[NDArray[np.uint8]]]

    def to_contact_sheet(self, sheet: SheetFlags = _DEFAULT_SHEET) -> NDArray[np.uint8]:
        """Lay the frames out in a column for each timestep."""
        from sdcli.storage.images.contact_sheet import labelled_grid
        from sdcli.storage.images.sheet_layout import SheetLabels

        columns = [f"t {t}" for t in self.timesteps]
        labels = SheetLabels(rows=list(self.rows), columns=columns, title=self.title)
        return labelled_grid(list(self.rows.values()), labels, sheet)

    def to_frames(self, *, scale: int, labels: bool) -> list[NDArray[np.uint8]]:
        """Return a frame of an animation for each timestep, with the rows side by side."""
        import numpy as np

        from sdcli.storage.images.frame_labels import label_frames

        frames = [np.concatenate(parts, axis=1) for parts in zip(*self.rows.values(), strict=True)]
        names = " | ".join(self.rows) if len(self.rows) > 1 else ""
        texts = [f"{names} · t {t}".removeprefix(" · ") for t in self.timesteps]
        return label_frames(frames, texts if labels else [""] * len(texts), scale=scale)


def noise_timesteps(last: int, steps: int | None) -> tuple[int, ...]:
    """Return 0 and `steps` evenly spaced timesteps up to `last`, by default 8.

    Raises UsageError for a timestep outside of 0 to 1000, and for more steps than timesteps.
    """
    if not 0 <= last <= TRAIN_TIMESTEPS:
        raise UsageError(f"--to: {last} is not between 0 and {TRAIN_TIMESTEPS}", code="usage.to")
    count = min(_DEFAULT_STEPS, last) if steps is None else steps
    if not min(1, last) <= count <= last:
        raise UsageError(
            f"--steps: {steps} is not between 1 and {last}, the timestep of --to",
            code="usage.steps",
            hint="each step covers at least one timestep; or leave out --steps",
        )
    return tuple(round(last * i / max(1, count)) for i in range(count + 1))


def noise_image(
    image: Path,
    timesteps: Sequence[int],
    spec: PipelineSpec,
    *,
    seed: int,
    tiling: str,
    warn: Callable[[str], None],
) -> NoisedImage:
    """Encode an image, add noise up to each timestep, and render the results.

    `warn` gets the events of loading, reading, encoding and decoding.
    """
    from sdcli import engine
    from sdcli.engine.preview import linear_renderer, loaded_vae_renderer
    from sdcli.engine.schedulers.add_noise import add_noise
    from sdcli.engine.vae.encode import encode_image
    from sdcli.storage.images.pixels import read_pixels

    with engine_lock():
        vae = engine.load_vae(spec)
        pixels, notes = read_pixels(image, grid=vae.facts.vae_scale_factor)
        latents, events = encode_image(vae, pixels, tiling=tiling)
        for event in (*vae.notes, *notes, *events):
            warn(event)
        noised = add_noise(vae.spec, latents, list(timesteps), seed)
        rows = {DECODED: list(map(loaded_vae_renderer(vae, warn, tiling), noised))}
    try:
        # Not every model has a known approximation of its latents' colours.
        rows = {LATENTS: list(map(linear_renderer(spec, len(latents)), noised)), **rows}
    except UsageError as error:
        warn(f"{error.message}: only the VAE's images are shown")
    title = f"{image.name} · seed {seed}"
    return NoisedImage(title=title, timesteps=tuple(timesteps), rows=rows)
