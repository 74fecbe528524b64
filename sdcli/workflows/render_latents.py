"""Render saved latents as images, through a VAE or a linear approximation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sdcli.checkpoints.recorded import locate_recorded
from sdcli.errors import UsageError
from sdcli.latents import X0, XT
from sdcli.pipeline_spec import PipelineSpec
from sdcli.run_flags import SheetFlags
from sdcli.runner.pipeline_cache import engine_lock

if TYPE_CHECKING:
    from sdcli.latents import LatentsRenderer
    from sdcli.storage.images.destination import Destination
    from sdcli.storage.latents.latents_file import LatentsFile

Warn = Callable[[str], None]

_DEFAULT_SHEET = SheetFlags()


@dataclass(frozen=True, kw_only=True)
class RendererOptions:
    """Model, VAE and device to render latents with. Options that are not set follow the file."""

    model: str | None = None
    vae: str | None = None
    force_vae: bool = False
    tiling: str | None = None
    device: str = "auto"
    backend: str | None = None
    offline: bool = False

    def pipeline_spec(self, file: LatentsFile) -> PipelineSpec:
        """Return what to load to render a file."""
        if "request" in file.record:
            recorded = file.request.spec
        else:
            recorded = PipelineSpec(**file.spec_fields)
        spec = replace(
            recorded,
            device=self.device,
            backend=self.backend or recorded.backend,
            offline=self.offline or recorded.offline,
            force_vae=self.force_vae or recorded.force_vae,
        )
        if self.model is not None:
            # A VAE or variant of one model means nothing to another.
            spec = PipelineSpec(
                model=self.model,
                dtype=spec.dtype,
                device=spec.device,
                backend=spec.backend,
                offline=spec.offline,
                force_vae=spec.force_vae,
            )
        if self.vae is not None:
            spec = replace(spec, vae=self.vae)
        return locate_recorded(spec, file.origin, file.path.parent)


def linear_renderer(file: LatentsFile, model: str | None) -> LatentsRenderer:
    """Return the linear approximation of a model, by default the file's; loads no weights.

    Raises UsageError when the model has none, or has another number of latent channels.
    """
    from sdcli.engine import preview

    spec = RendererOptions(model=model, offline=True).pipeline_spec(file)
    try:
        return preview.linear_renderer(spec, file.shape[0])
    except UsageError as error:
        raise UsageError(
            f"{file.path}: {error.message}", code=error.code, hint=error.hint
        ) from error


def vae_renderer(spec: PipelineSpec, tiling: str | None, warn: Warn) -> LatentsRenderer:
    """Load the VAE of a spec and return it as a renderer. `warn` gets its events."""
    from sdcli.engine import preview

    with engine_lock():
        decode = preview.vae_renderer(spec, warn, tiling or "auto")

    def render(latents: Any) -> Any:
        with engine_lock():
            return decode(latents)

    return render


def choose_renderer(file: LatentsFile, options: RendererOptions, warn: Warn) -> LatentsRenderer:
    """Return a VAE as the renderer if the options name one, otherwise the linear approximation.

    Raises UsageError for VAE options without a VAE.
    """
    if options.vae is not None:
        return vae_renderer(options.pipeline_spec(file), options.tiling, warn)
    if options.force_vae or options.tiling or options.backend:
        raise UsageError(
            "--force-vae, --vae-tiling and --backend have no effect without a VAE",
            code="usage.vae",
            hint="add --vae own, or another VAE",
        )
    return linear_renderer(file, options.model)


def render_frames(
    file: LatentsFile, kind: str, steps: Sequence[int], render: LatentsRenderer
) -> list[Any]:
    """Render tensors of one kind at the given steps, as pixels (height, width, 3) each."""
    return [render(file.unit_variance(kind, step)) for step in steps]


def render_grid(
    file: LatentsFile,
    kinds: Sequence[str],
    steps: Sequence[int],
    render: LatentsRenderer,
    sheet: SheetFlags = _DEFAULT_SHEET,
) -> Any:
    """Render steps as a contact sheet (height, width, 3) with a row per kind."""
    from sdcli.storage.images.contact_sheet import labelled_grid
    from sdcli.storage.images.sheet_layout import SheetLabels

    cells = [
        [
            render_frames(file, kind, [step], render)[0] if step in file.steps(kind) else None
            for step in steps
        ]
        for kind in kinds
    ]
    labels = SheetLabels(
        rows=[{XT: "noisy x_t", X0: "predicted x_0"}[kind] for kind in kinds],
        columns=[step_label(file, step) for step in steps],
        title=run_title(file),
    )
    return labelled_grid(cells, labels, sheet)


def step_label(file: LatentsFile, step: int) -> str:
    """Name a step and its timestep: "step 8 · t 615"."""
    timestep = file.timestep(step)
    return f"step {step}" if timestep is None else f"step {step} · t {timestep:.0f}"


def run_title(file: LatentsFile) -> str:
    """Name the run of a file by its prompt and seed, "" for latents of no run."""
    if "request" not in file.record:
        return ""
    request = file.request
    return request.prompt if request.seed is None else f"{request.prompt} · seed {request.seed}"


def decode_steps(
    selected: Sequence[tuple[LatentsFile, Sequence[int]]],
    kind: str,
    options: RendererOptions,
    destination: Destination,
    warn: Warn,
) -> Iterator[tuple[str, dict[str, object]]]:
    """Decode the selected steps of files through their VAEs, and write the images.

    Yields the path of each image, with its step and kind. Images of final latents get the record
    of their run; those of other steps get none, because no request describes them.
    """
    from sdcli.storage.images.writer import write_pixels
    from sdcli.storage.latents.decoded_record import rerendered_record

    decoder: _StepDecoder | None = None
    for file, steps in selected:
        spec = options.pipeline_spec(file)
        tiling = options.tiling or file.record.get("request", {}).get("vae_tiling")
        if decoder is None or (decoder.spec, decoder.tiling) != (spec, tiling):
            # Drop the old VAE before loading: two may not fit into memory.
            decoder = None
            decoder = _StepDecoder(spec, tiling, warn)
        for step in steps:
            pixels, events = decoder.decode(file.unit_variance(kind, step))
            name, record = f"{file.name}-{kind}-{step:04d}", None
            if kind == XT and step == file.num_steps:
                name, record = file.name, rerendered_record(file, pixels, spec, tiling, events)
            path = write_pixels(pixels, destination, name, record)
            yield path, {"step": step, "kind": kind}


class _StepDecoder:
    """A loaded VAE that also returns the events of each decode, those of its loading included."""

    def __init__(self, spec: PipelineSpec, tiling: str | None, warn: Warn) -> None:
        self.spec = spec
        self.tiling = tiling
        self._warn = warn
        self._events: list[str] = []
        self._render = vae_renderer(spec, tiling, self._report)
        self._load_events = tuple(self._events)

    def decode(self, latents: Any) -> tuple[Any, tuple[str, ...]]:
        """Return the pixels (height, width, 3) of latents, and the events."""
        self._events = list(self._load_events)
        pixels = self._render(latents)
        return pixels, tuple(self._events)

    def _report(self, event: str) -> None:
        self._events.append(event)
        self._warn(event)
