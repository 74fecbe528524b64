"""Plan a run without loading torch: its jobs, model loads, disk space and time."""

from __future__ import annotations

import gc
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from sdcli.checkpoints.model_defaults import ModelDefaults
from sdcli.errors import OutputError
from sdcli.fields.control import CONTROL_FIELDS
from sdcli.fields.hires import HIRES_FIELDS
from sdcli.fields.image import ImageJobFields
from sdcli.fields.ip_adapter import IP_ADAPTER_FIELDS
from sdcli.inputs.paths import is_url, output_path
from sdcli.job import Job, Rerun, TimingKey
from sdcli.latents import LatentsSelection
from sdcli.pipeline_spec import PipelineSpec
from sdcli.planning.batching import PLANNING_WINDOW, order_specs, same_base_model
from sdcli.planning.planner import Planner
from sdcli.planning.validation import cached_defaults
from sdcli.prompts.sources import RequestSource
from sdcli.request import GenerationRequest
from sdcli.runner.input_images import read_image
from sdcli.runner.start_warnings import StartWarnings
from sdcli.shard import WHOLE_RUN, Shard

if TYPE_CHECKING:
    from sdcli.storage.images.destination import Destination
    from sdcli.storage.jobs.store import JobStore
    from sdcli.storage.jobs.user_timings import UserTimings

BYTES_PER_PIXEL: Final = 1.6
"""Of a PNG: a guess between flat drawings (below 1) and noise (3)."""

_RECORD_BYTES: Final = 4096
_LATENT_BYTES: Final = 4 * 4
"""Four channels in float32, for each 8 x 8 pixels."""

_COLLECT_AFTER: Final = 50_000
_MAX_KNOWN: Final = 1024
"""Kinds of jobs whose size and time are remembered."""

_HIDDEN_FIELDS: Final = (
    "spec", "scheduler", "scheduler_label", "fingerprint", "occurrence", "empty_negative", "row",
    "reads_syntax", "lora_sha256", "embedding_facts", "controlnet_sha256", "control_image_sha256",
    "ip_adapter_sha256", "ip_image_sha256", "ip_encoder_sha256",
)  # fmt: skip

_IMAGE_FIELDS: Final = frozenset(f.name for f in fields(ImageJobFields))


@dataclass(kw_only=True)
class DryRunTotals:
    """The sums of a dry run. `models` are in the order of their first use.

    Images that are `done` already count for nothing else. `disk_bytes` is an estimate. `seconds`
    are those of the `timed` images: images of the same model and size were made before.
    """

    images: int = 0
    done: int = 0
    model_loads: int = 0
    disk_bytes: int = 0
    seconds: float = 0.0
    timed: int = 0
    models: dict[str, None] = field(default_factory=dict)
    _batch_keys: set[int] = field(default_factory=set)
    _known: dict[Hashable, tuple[int, float | None]] = field(default_factory=dict)

    @property
    def groups(self) -> int:
        """The number of groups of images that can share a batch."""
        return len(self._batch_keys)

    def add(
        self, job: Job, latents: LatentsSelection | None, seconds: Callable[[Job], float | None]
    ) -> None:
        """Add an image that is left to do; `seconds` tells how long it will take, if known."""
        key = job.batch_key
        if key not in self._known:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known[key] = _estimate_bytes(job, latents), seconds(job)
            # Hashes alone: a million jobs must not stay in memory.
            self._batch_keys.add(hash(key))
            self.models.setdefault(job.spec.model)
        disk_bytes, known_seconds = self._known[key]
        self.disk_bytes += disk_bytes
        if known_seconds is not None:
            self.seconds += known_seconds
            self.timed += 1

    def to_dict(self) -> dict[str, Any]:
        """The sums as JSON."""
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
    """The state of an output folder: seconds per image of each kind of job, and its job store.

    Without a journal there is no job store; seeds and wildcards that nobody chose are then unknown.
    `user_timings` are those of other folders.
    """

    timings: Mapping[TimingKey, float] = field(default_factory=dict)
    user_timings: UserTimings | None = None
    jobs: JobStore | None = None

    def seconds(self, job: Job) -> float | None:
        """The expected seconds of a job, None if nothing like it was made before."""
        known = self.timings.get(job.timing_key)
        if known is None and self.user_timings:
            return self.user_timings.seconds(job)
        return known


@contextmanager
def open_folder_state(out: str, rerun: Rerun | None) -> Iterator[FolderState]:
    """Read the state of the folder of `out`; its journal stays open within."""
    from sdcli.storage.images.destination import Destination
    from sdcli.storage.jobs.timings import known_timings
    from sdcli.storage.jobs.user_timings import UserTimings

    if is_url(out):
        with _open_remote_state(out, rerun) as state:
            yield state
        return
    path = output_path(out)
    kind: Literal["folder", "numbered"] = "folder" if path.is_dir() else "numbered"
    folder = path if kind == "folder" else path.parent
    timings = known_timings(folder)
    jobs = _open_jobs(Destination(kind=kind, path=path), folder, rerun)
    try:
        yield FolderState(timings=timings, user_timings=UserTimings(), jobs=jobs)
    finally:
        if jobs:
            jobs.close()


@contextmanager
def rare_collections() -> Iterator[None]:
    """Within, look for unused cycles of objects less often: planning makes none, only objects."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def has_journal(out: str) -> bool:
    """Whether the folder of `out` has a journal."""
    from sdcli.storage.jobs.journal import NAME

    if is_url(out):
        return False
    path = output_path(out)
    return ((path if path.is_dir() else path.parent) / NAME).is_file()


@contextmanager
def _open_remote_state(url: str, rerun: Rerun | None) -> Iterator[FolderState]:
    from sdcli.storage.images.destination import parse_remote_destination
    from sdcli.storage.jobs.remote_journal import FOLDER
    from sdcli.storage.jobs.store import JobStore
    from sdcli.storage.jobs.user_timings import UserTimings

    destination = parse_remote_destination(url, force=False)
    has_journal = destination.store is not None and destination.store.sizes(FOLDER)
    jobs = JobStore(destination, rerun=rerun) if has_journal else None
    try:
        yield FolderState(user_timings=UserTimings(), jobs=jobs)
    finally:
        if jobs:
            jobs.close()
        with suppress(OSError):
            destination.folder.rmdir()


def _open_jobs(destination: Destination, folder: Path, rerun: Rerun | None) -> JobStore | None:
    """Open the job store of a folder that has a journal; a dry run creates none."""
    from sdcli.storage.jobs.journal import NAME
    from sdcli.storage.jobs.store import JobStore

    if (folder / NAME).is_file():
        with suppress(OutputError):  # a read-only folder
            return JobStore(destination, rerun=rerun)
    return None


def dry_run(
    source: RequestSource,
    totals: DryRunTotals,
    latents: LatentsSelection | None,
    folder: FolderState,
    warn: Callable[[str], None] = lambda warning: None,
    shard: Shard = WHOLE_RUN,
) -> Iterator[Callable[[], dict[str, Any]]]:
    """Yield for each job of a run what makes its JSON object, and add it to `totals`.

    `warn` is as in the run. A seed that the run would draw is None without a journal. Only the jobs
    of the `shard` count. Raises UsageError, and ModelError for a model that is not on this machine.
    """
    jobs = folder.jobs
    planner = Planner(
        warn,
        jobs.draw_seed if jobs else lambda job: 0,
        source.wildcards if jobs else None,
        _find_cached_model,
        read_image,
        is_local=True,
    )
    starts, loaded = StartWarnings(warn), None
    while window := source.take(1, wait=True):
        window += source.take(PLANNING_WINDOW - 1, wait=False)
        specs: dict[PipelineSpec, None] = {}
        for request in window:
            has_seed = request.seed is not None or jobs is not None
            for job, is_pending in _plan_request(planner, request, jobs):
                if not shard.contains(job.index):
                    continue
                totals.images += 1
                totals.done += not is_pending
                if is_pending:
                    starts.check(job)
                    totals.add(job, latents, folder.seconds)
                    specs[job.spec] = None
                yield partial(_job_document, job, has_seed=has_seed, is_done=not is_pending)
        order = order_specs(specs, loaded)
        totals.model_loads += _count_loads(order, loaded)
        loaded = order[-1] if order else loaded


def _plan_request(
    planner: Planner, request: GenerationRequest, jobs: JobStore | None
) -> Iterator[tuple[Job, bool]]:
    """Yield the jobs of a request, and whether each is left to do."""
    planned = planner.plan_lazily((request,))
    if jobs is None:
        yield from ((job, True) for job in planned)
        return
    while window := list(islice(planned, PLANNING_WINDOW)):
        pending = {job.index for job in jobs.take_pending(window)}
        yield from ((job, job.index in pending) for job in window)


def _count_loads(specs: Sequence[PipelineSpec], loaded: PipelineSpec | None) -> int:
    """How often a model is loaded for pipelines in this order; another VAE alone does not count."""
    neighbours = zip([loaded, *specs], specs, strict=False)
    return sum(before is None or not same_base_model(spec, before) for before, spec in neighbours)


def _find_cached_model(spec: PipelineSpec) -> tuple[ModelDefaults, str]:
    from sdcli.checkpoints.fingerprint import fingerprint

    # A dry run downloads nothing.
    local = replace(spec, offline=True)
    return cached_defaults(local), fingerprint(local)


def _job_document(job: Job, *, has_seed: bool, is_done: bool) -> dict[str, Any]:
    document = {
        name: value
        for name, value in job.field_values().items()
        if name not in _HIDDEN_FIELDS
        and (job.image or name not in _IMAGE_FIELDS)
        and (job.hires or name not in HIRES_FIELDS)
        and (job.controlnet or name not in CONTROL_FIELDS)
        and (job.ip_adapter or name not in IP_ADAPTER_FIELDS)
    }
    document["scheduler"] = job.scheduler_label
    document["seed"] = job.seed if has_seed else None
    document["done"] = is_done
    return document | vars(job.spec) | job.row.to_dict()


def _estimate_bytes(job: Job, latents: LatentsSelection | None) -> int:
    width, height = job.final_size
    tensors = len(latents.tensor_names(job.denoising_steps)) if latents else 0
    image_bytes = int(width * height * BYTES_PER_PIXEL) + _RECORD_BYTES
    # The latents are those of the first pass.
    return image_bytes + tensors * (job.width * job.height // 64) * _LATENT_BYTES
