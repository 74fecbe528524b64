"""What a run would do, found out without torch: every job, what it loads, what it writes."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from sdcli.catalog.models import ModelDefaults, read_defaults
from sdcli.dump import LatentsWanted
from sdcli.errors import ModelError
from sdcli.groups import WINDOW
from sdcli.plan import Job, Kind, batch_key, kind_of, plan
from sdcli.prompts.arrivals import Arrivals
from sdcli.request import GenerationRequest, PipelineSpec

BYTES_PER_PIXEL: Final = 1.6
"""Of a PNG: a guess between flat drawings (below 1) and noise (3)."""

_RECORD_BYTES: Final = 4096


class Examiner:
    """Checks requests against their models, where these are here to be asked."""

    def __init__(self) -> None:
        self._defaults: dict[PipelineSpec, ModelDefaults | None] = {}

    def __call__(self, request: GenerationRequest) -> None:
        """Raises UsageError for what the model or the scheduler could not do."""
        if defaults := self._of(request.spec):
            next(plan(request, defaults, 0))

    def _of(self, spec: PipelineSpec) -> ModelDefaults | None:
        if spec not in self._defaults:
            try:
                self._defaults[spec] = local_defaults(spec)
            except ModelError:
                self._defaults[spec] = None
        return self._defaults[spec]


def local_defaults(spec: PipelineSpec) -> ModelDefaults:
    """What the model wants, without a download. Raises ModelError."""
    from sdcli.engine.fetch import fetch

    return read_defaults(fetch(replace(spec, offline=True)))


@dataclass(kw_only=True)
class Totals:
    """The sums of a plan. Bytes are an estimate; `models` are in the order of their first use.

    `seconds` are those of the `timed` images, whose like was made in this folder before.
    """

    images: int = 0
    model_loads: int = 0
    disk_bytes: int = 0
    seconds: float = 0.0
    timed: int = 0
    models: dict[str, None] = field(default_factory=dict)
    _groups: set[int] = field(default_factory=set)

    @property
    def groups(self) -> int:
        """Sets of images that can share a batch."""
        return len(self._groups)

    def count(self, job: Job, latents: LatentsWanted | None, times: Mapping[Kind, float]) -> None:
        """Add one image; `times` are the seconds that images of a kind are known to take."""
        self.images += 1
        if (seconds := times.get(kind_of(job))) is not None:
            self.seconds += seconds
            self.timed += 1
        self.disk_bytes += _bytes(job, latents)
        self._groups.add(hash(batch_key(job)))
        self.models.setdefault(job.spec.model)

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "images": self.images,
            "groups": self.groups,
            "models": list(self.models),
            "model_loads": self.model_loads,
            "disk_bytes": self.disk_bytes,
            "seconds": round(self.seconds, 1) if self.timed else None,
            "timed_images": self.timed,
        }


def rehearse(
    source: Arrivals,
    totals: Totals,
    latents: LatentsWanted | None,
    times: Mapping[Kind, float],
) -> Iterator[dict[str, Any]]:
    """The jobs of a run as JSON objects, one after the other; `totals` counts them.

    A seed that a run would draw is None; `times` are seconds by kind. Raises UsageError, and
    ModelError for a model that is not here.
    """
    defaults: dict[PipelineSpec, ModelDefaults] = {}
    loaded: Hashable = None
    while window := source.take(1, wait=True):
        window += source.take(WINDOW - 1, wait=False)
        for request in window:
            spec = request.spec
            if spec not in defaults:
                defaults[spec] = local_defaults(spec)
            for job in plan(request, defaults[spec], totals.images):
                totals.count(job, latents, times)
                yield _document(job, drawn=request.seed is None)
        for spec in dict.fromkeys(request.spec for request in window):
            totals.model_loads += spec != loaded
            loaded = spec


def _document(job: Job, *, drawn: bool) -> dict[str, Any]:
    left_out = ("spec", "scheduler", "scheduler_label")
    facts = {name: value for name, value in vars(job).items() if name not in left_out}
    facts |= {"scheduler": job.scheduler_label, "seed": None if drawn else job.seed}
    return facts | vars(job.spec)


def _bytes(job: Job, latents: LatentsWanted | None) -> int:
    pixels = job.width * job.height
    tensors = len(latents.tensors(job.num_inference_steps)) if latents else 0
    return int(pixels * BYTES_PER_PIXEL) + _RECORD_BYTES + tensors * (pixels // 64) * 4 * 4
