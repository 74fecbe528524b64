"""Render latents as images, through a VAE or a linear approximation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sdcli.errors import UsageError
from sdcli.latents import NOISE, XT
from sdcli.request import PipelineSpec

if TYPE_CHECKING:
    from sdcli.latents import LatentsRenderer
    from sdcli.storage.latents.reader import LatentsFile


@dataclass(frozen=True, kw_only=True)
class RendererOptions:
    """What latents are looked at through, as the options say it; left out, what their run had."""

    model: str | None = None
    vae: str | None = None
    force_vae: bool = False
    tiling: str | None = None
    device: str = "auto"
    offline: bool = False

    def pipeline_spec(self, dump: LatentsFile) -> PipelineSpec:
        """What to load for this file: the model that made it, unless others are named."""
        made = dump.request.spec if "request" in dump.record else PipelineSpec()
        spec = replace(
            made,
            device=self.device,
            offline=self.offline or made.offline,
            force_vae=self.force_vae or made.force_vae,
        )
        if self.model is not None:
            spec = replace(spec, model=self.model, vae=None, variant=None)
        return spec if self.vae is None else replace(spec, vae=self.vae)


def linear_renderer(dump: LatentsFile, model: str | None) -> LatentsRenderer:
    """Latents to pixels by the linear map of the model that made them; loads nothing."""
    from sdcli.engine import preview

    try:
        return preview.linear_renderer(
            RendererOptions(model=model, offline=True).pipeline_spec(dump), dump.shape[0]
        )
    except UsageError as error:
        raise UsageError(
            f"{dump.path}: {error.message}", code=error.code, hint=error.hint
        ) from error


def vae_renderer(spec: PipelineSpec, tiling: str | None) -> LatentsRenderer:
    """Latents to pixels by the VAE that `spec` names."""
    from sdcli.engine import preview
    from sdcli.terminal.console import Console

    return preview.vae_renderer(spec, Console().warn, tiling or "auto")


def choose_renderer(dump: LatentsFile, through: RendererOptions) -> LatentsRenderer:
    """Through a VAE where one is named, else by the linear map."""
    if through.vae is not None:
        return vae_renderer(through.pipeline_spec(dump), through.tiling)
    if through.force_vae or through.tiling:
        raise UsageError(
            "--force-vae and --vae-tiling do nothing without a VAE",
            code="usage.vae",
            hint="add --vae own, or another one",
        )
    return linear_renderer(dump, through.model)


def unit_variance_latents(dump: LatentsFile, kind: str, step: int) -> Any:
    """Latents of a step; x_t of schedulers that count noise in sigmas brought to variance 1."""
    if kind == XT and step == 0 and NOISE in dump.tensors:
        return dump.tensor_by_name(NOISE)
    latents, sigmas = dump.tensor(kind, step), dump.record.get("sigmas")
    if kind != XT or dump.init_noise_sigma <= 1.0 or not sigmas or step >= len(sigmas):
        return latents
    return latents / (1 + sigmas[step] ** 2) ** 0.5


def render_frames(
    dump: LatentsFile, kind: str, steps: Sequence[int], look: LatentsRenderer
) -> list[Any]:
    """Pixels (height, width, 3) of a kind at those steps."""
    return [look(unit_variance_latents(dump, kind, step)) for step in steps]
