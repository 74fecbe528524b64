"""What a run would do, found out without torch: every job, what it loads, what it writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from sdcli.checkpoints.model_defaults import ModelDefaults
from sdcli.errors import OutputError
from sdcli.job import Job, TimingKey, batch_key, timing_key
from sdcli.latents import LatentsSelection
from sdcli.planning.batching import PLANNING_WINDOW, order_specs, same_base_model
from sdcli.planning.planner import Planner
from sdcli.planning.validation import cached_defaults
from sdcli.prompts.sources import RequestSource
from sdcli.prompts.wildcards import Wildcards
from sdcli.request import PipelineSpec

if TYPE_CHECKING:
    from sdcli.storage.jobs.store import JobStore, Rerun

BYTES_PER_PIXEL: Final = 1.6
"""Of a PNG: a guess between flat drawings (below 1) and noise (3)."""

_RECORD_BYTES: Final = 4096


@dataclass(kw_only=True)
class DryRunTotals:
    """The sums of a plan. Bytes are an estimate; `models` are in the order of their first use.

    Images that are `done` already count for nothing else. `seconds` are those of the `timed`
    images, whose like was made in this folder before.
    """

    images: int = 0
    done: int = 0
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

    def add(
        self, job: Job, latents: LatentsSelection | None, times: Mapping[TimingKey, float]
    ) -> None:
        """Add an image that is still to be made; `times` are seconds by kind."""
        if (seconds := times.get(timing_key(job))) is not None:
            self.seconds += seconds
            self.timed += 1
        self.disk_bytes += _estimated_bytes(job, latents)
        self._groups.add(hash(batch_key(job)))
        self.models.setdefault(job.spec.model)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "images": self.images,
            "done": self.done,
            "groups": self.groups,
            "models": list(self.models),
            "model_loads": self.model_loads,
            "disk_bytes": self.disk_bytes,
            "seconds": round(self.seconds, 1) if self.timed else None,
            "timed_images": self.timed,
        }


@dataclass(frozen=True, kw_only=True)
class FolderState:
    """What a plan knows of the folder that it is for: how long images of a kind took there, and,
    with a journal, which are done and how seeds and wildcards fall that nobody chose."""

    times: Mapping[TimingKey, float] = field(default_factory=dict)
    ledger: JobStore | None = None
    wildcards: Wildcards | None = None


@contextmanager
def open_folder_state(
    out: str, wildcards: Wildcards | None, again: Rerun | None
) -> Iterator[FolderState]:
    """What is known of the folder that `--out` means; its journal is opened where there is one."""
    from sdcli.storage.images.destination import Destination
    from sdcli.storage.jobs import timings
    from sdcli.storage.jobs.journal import NAME
    from sdcli.storage.jobs.store import JobStore

    path = Path(out).expanduser()
    is_folder = path.is_dir()
    home = path if is_folder else path.parent
    times = timings.known_timings(home)
    ledger = None
    if (home / NAME).is_file():
        with suppress(OutputError):  # a folder that may only be read
            kind: Literal["folder", "numbered"] = "folder" if is_folder else "numbered"
            ledger = JobStore(Destination(kind=kind, path=path), again=again)
    try:
        yield FolderState(times=times, ledger=ledger, wildcards=wildcards)
    finally:
        if ledger:
            ledger.close()


def dry_run(
    source: RequestSource,
    totals: DryRunTotals,
    latents: LatentsSelection | None,
    folder: FolderState,
) -> Iterator[dict[str, Any]]:
    """The jobs of a run as JSON objects, one after the other; `totals` counts them.

    A seed that a run would draw is None without a journal. Raises UsageError, and ModelError for a
    model that is not here.
    """
    ledger = folder.ledger
    draw = ledger.draw_seed if ledger else lambda job: 0
    planner = Planner(lambda text: None, draw, folder.wildcards if ledger else None, _cached_model)
    loaded: PipelineSpec | None = None
    while window := source.take(1, wait=True):
        window += source.take(PLANNING_WINDOW - 1, wait=False)
        specs: dict[PipelineSpec, None] = {}
        for request in window:
            jobs = planner.plan([request])
            left = {job.index for job in (ledger.pending(jobs) if ledger else jobs)}
            for job in jobs:
                totals.images += 1
                done = job.index not in left
                totals.done += done
                if not done:
                    totals.add(job, latents, folder.times)
                    specs.setdefault(job.spec)
                yield _job_document(job, drawn=request.seed is None and not ledger, done=done)
        for spec in order_specs(specs, loaded):
            totals.model_loads += loaded is None or not same_base_model(spec, loaded)
            loaded = spec


def _cached_model(spec: PipelineSpec) -> tuple[ModelDefaults, str]:
    """The model as it is on this machine: a plan downloads nothing."""
    from sdcli.checkpoints.fingerprint import fingerprint

    local = replace(spec, offline=True)
    return cached_defaults(local), fingerprint(local)


def _job_document(job: Job, *, drawn: bool, done: bool) -> dict[str, Any]:
    left_out = ("spec", "scheduler", "scheduler_label", "fingerprint", "occurrence")
    facts = {name: value for name, value in vars(job).items() if name not in left_out}
    facts |= {"scheduler": job.scheduler_label, "seed": None if drawn else job.seed, "done": done}
    return facts | vars(job.spec)


def _estimated_bytes(job: Job, latents: LatentsSelection | None) -> int:
    pixels = job.width * job.height
    tensors = len(latents.tensor_names(job.num_inference_steps)) if latents else 0
    return int(pixels * BYTES_PER_PIXEL) + _RECORD_BYTES + tensors * (pixels // 64) * 4 * 4
