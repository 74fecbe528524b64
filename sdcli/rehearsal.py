"""What a run would do, found out without torch: every job, what it loads, what it writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from sdcli.catalog import vaes
from sdcli.catalog.models import ModelDefaults, read_defaults
from sdcli.dump import LatentsWanted
from sdcli.errors import OutputError, SdcliError
from sdcli.groups import WINDOW, in_turn, shares_model
from sdcli.plan import Job, Kind, batch_key, faults, kind_of
from sdcli.planner import Planner
from sdcli.prompts.arrivals import Arrivals
from sdcli.prompts.said import field_of, wrong_values
from sdcli.prompts.wildcards import Wildcards
from sdcli.request import GenerationRequest, PipelineSpec

if TYPE_CHECKING:
    from sdcli.output.ledger import Again, Ledger

BYTES_PER_PIXEL: Final = 1.6
"""Of a PNG: a guess between flat drawings (below 1) and noise (3)."""

_RECORD_BYTES: Final = 4096


class Examiner:
    """Checks requests against their models and VAEs, as far as these are here to be asked.

    What the hub has is known when it is downloaded, and not before; offline, what is not here is
    missing.
    """

    def __init__(self) -> None:
        self._known: dict[PipelineSpec, tuple[ModelDefaults | None, Sequence[Fault]]] = {}

    def __call__(self, request: GenerationRequest) -> Iterator[Fault]:
        """All that cannot be done, each with the field that it is about."""
        spec = request.spec
        if spec not in self._known:
            self._known[spec] = _look(spec)
        defaults, missing = self._known[spec]
        yield from missing
        if defaults:
            yield from ((field_of(error), error) for error in faults(request, defaults))
        elif error := wrong_values({"scheduler": (request.scheduler,)}).get("scheduler"):
            yield "scheduler", error


Fault = tuple[str, SdcliError]


def _look(spec: PipelineSpec) -> tuple[ModelDefaults | None, list[Fault]]:
    """What the model wants, if that can be told, and what is wrong with it and its VAE."""
    from sdcli.engine import fetch, vae_files, weights

    local, defaults, missing = replace(spec, offline=True), None, []
    try:
        folder = fetch.fetch(local)
        defaults = read_defaults(folder)
        for part in ("unet", "text_encoder"):
            weights.find(folder / part, part, spec.variant)
    except SdcliError as error:
        if not _may_come(spec.model, spec, error):
            missing.append(("model", error))
    try:
        if defaults:
            vae_files.find(local, folder)
        elif spec.vae not in (None, vaes.OWN, vaes.TINY):
            fetch.fetch_vae(local, Path())
    except SdcliError as error:
        if not _may_come(spec.vae or spec.model, spec, error):
            missing.append(("vae", error))
    return defaults, missing


def _may_come(name: str, spec: PipelineSpec, error: SdcliError) -> bool:
    """Whether what lacks may still be downloaded: it is the hub's, and the hub may be asked."""
    waits = error.code in ("model.offline", "model.incomplete")
    return waits and not spec.offline and not Path(name).expanduser().exists()


def local_defaults(spec: PipelineSpec) -> ModelDefaults:
    """What the model wants, without a download. Raises ModelError."""
    from sdcli.engine.fetch import fetch

    return read_defaults(fetch(replace(spec, offline=True)))


@dataclass(kw_only=True)
class Totals:
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

    def count(self, job: Job, latents: LatentsWanted | None, times: Mapping[Kind, float]) -> None:
        """Add an image that is still to be made; `times` are seconds by kind."""
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
            "done": self.done,
            "groups": self.groups,
            "models": list(self.models),
            "model_loads": self.model_loads,
            "disk_bytes": self.disk_bytes,
            "seconds": round(self.seconds, 1) if self.timed else None,
            "timed_images": self.timed,
        }


@dataclass(frozen=True, kw_only=True)
class Folder:
    """What a plan knows of the folder that it is for: how long images of a kind took there, and,
    with a journal, which are done and how seeds and wildcards fall that nobody chose."""

    times: Mapping[Kind, float] = field(default_factory=dict)
    ledger: Ledger | None = None
    wildcards: Wildcards | None = None


@contextmanager
def folder_of(out: str, wildcards: Wildcards | None, again: Again | None) -> Iterator[Folder]:
    """What is known of the folder that `--out` means; its journal is opened where there is one."""
    from sdcli.output import timings
    from sdcli.output.images import Destination
    from sdcli.output.journal import NAME
    from sdcli.output.ledger import Ledger

    path = Path(out).expanduser()
    is_folder = path.is_dir()
    home = path if is_folder else path.parent
    times = timings.known(home)
    ledger = None
    if (home / NAME).is_file():
        with suppress(OutputError):  # a folder that may only be read
            kind: Literal["folder", "numbered"] = "folder" if is_folder else "numbered"
            ledger = Ledger(Destination(kind=kind, path=path), again=again)
    try:
        yield Folder(times=times, ledger=ledger, wildcards=wildcards)
    finally:
        if ledger:
            ledger.close()


def rehearse(
    source: Arrivals, totals: Totals, latents: LatentsWanted | None, folder: Folder
) -> Iterator[dict[str, Any]]:
    """The jobs of a run as JSON objects, one after the other; `totals` counts them.

    A seed that a run would draw is None without a journal. Raises UsageError, and ModelError for a
    model that is not here.
    """
    ledger = folder.ledger
    draw = ledger.draw_seed if ledger else lambda job: 0
    planner = Planner(lambda text: None, draw, folder.wildcards if ledger else None, _here)
    loaded: PipelineSpec | None = None
    while window := source.take(1, wait=True):
        window += source.take(WINDOW - 1, wait=False)
        specs: dict[PipelineSpec, None] = {}
        for request in window:
            jobs = planner.jobs([request])
            left = {job.index for job in (ledger.wanted(jobs) if ledger else jobs)}
            for job in jobs:
                totals.images += 1
                done = job.index not in left
                totals.done += done
                if not done:
                    totals.count(job, latents, folder.times)
                    specs.setdefault(job.spec)
                yield _document(job, drawn=request.seed is None and not ledger, done=done)
        for spec in in_turn(specs, loaded):
            totals.model_loads += loaded is None or not shares_model(spec, loaded)
            loaded = spec


def _here(spec: PipelineSpec) -> tuple[ModelDefaults, str]:
    """The model as it is on this machine: a plan downloads nothing."""
    from sdcli.engine.fingerprint import fingerprint

    local = replace(spec, offline=True)
    return local_defaults(local), fingerprint(local)


def _document(job: Job, *, drawn: bool, done: bool) -> dict[str, Any]:
    left_out = ("spec", "scheduler", "scheduler_label", "fingerprint", "occurrence")
    facts = {name: value for name, value in vars(job).items() if name not in left_out}
    facts |= {"scheduler": job.scheduler_label, "seed": None if drawn else job.seed, "done": done}
    return facts | vars(job.spec)


def _bytes(job: Job, latents: LatentsWanted | None) -> int:
    pixels = job.width * job.height
    tensors = len(latents.tensors(job.num_inference_steps)) if latents else 0
    return int(pixels * BYTES_PER_PIXEL) + _RECORD_BYTES + tensors * (pixels // 64) * 4 * 4
