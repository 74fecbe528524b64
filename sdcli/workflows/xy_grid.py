"""X/Y grids: the pictures of a sweep side by side, with the swept values as labels."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from sdcli.errors import UsageError
from sdcli.job import Job
from sdcli.planning.batching import PLANNING_WINDOW
from sdcli.planning.planner import Planner
from sdcli.prompts.expansion import RequestTemplate
from sdcli.prompts.fields import SIZE, canonical_field
from sdcli.prompts.sources import RequestSource
from sdcli.result import GenerationResult
from sdcli.runner.options import RunOptions
from sdcli.runner.writer import ResultWriter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Picture = Callable[[], NDArray[np.uint8]]
    Cells = dict[tuple[object, object], Picture]

PROMPT: Final = "prompt"
_NO_ROW: Final = ""
_AXIS_FIELDS: Final = {SIZE: ("width", "height"), "scheduler": ("scheduler", "scheduler_label")}
_IGNORED_FIELDS: Final = ("index", "spec", "occurrence", "fingerprint")
_SHORT_NAMES: Final = {"num_inference_steps": "steps", "guidance_scale": "guidance"}
_UNLABELLED: Final = (PROMPT, SIZE, "scheduler", "model")


def parse_grid_axes(
    text: str, asked: RequestTemplate, prompts: int, *, json: bool
) -> tuple[str, ...]:
    """From "steps,scheduler", X and Y, the fields; one of them is a row. Raises UsageError."""
    if json:
        raise UsageError(
            "--grid comes after the images, and --json has ended by then",
            code="usage.grid",
            hint="take --jsonl",
        )
    names = tuple(canonical_field(word) for word in text.split(","))
    if not 1 <= len(names) <= 2 or len(set(names)) < len(names):
        raise UsageError(
            f"--grid: {text!r} is not one or two settings",
            code="usage.grid",
            hint="as in --grid steps,scheduler: steps from left to right, schedulers downwards",
        )
    said = {**asked.settings, **asked.flags}
    several = {name for name, values in said.items() if len(values) > 1}
    if prompts > 1 or asked.replacements or asked.wildcards:
        several.add(PROMPT)
    for name in names:
        if name not in several:
            raise UsageError(
                f"--grid: {name} has one value only",
                code="usage.grid",
                hint="give it several, as in --steps 10,20",
            )
    return names


@dataclass(kw_only=True)
class XYGrids:
    """Collects pictures; those that differ in more than the axes are on another grid.

    A picture is fetched when its grid is drawn: those of a batch stay on disk until then.
    """

    axes: Sequence[str]
    _cells: dict[Hashable, Cells] = field(default_factory=dict)
    _first: dict[Hashable, Job] = field(default_factory=dict)

    def add(self, result: GenerationResult) -> None:
        """Take a picture in."""
        pixels = result.pixels
        self.add_lazy(result.job, lambda: pixels)

    def add_lazy(self, job: Job, picture: Picture) -> None:
        """Take in where the picture of a job can be had."""
        rest = _remaining_fields(job, self.axes)
        column, row, *_ = (*(_axis_value(job, name) for name in self.axes), _NO_ROW)
        self._cells.setdefault(rest, {})[column, row] = picture
        self._first.setdefault(rest, job)

    def write(self, delivery: RunOptions) -> Iterator[str]:
        """Write the grids beside the images; their paths. Raises OutputError.

        Beside the images of a batch each has a name for good, and replaces what it was before.
        """
        from sdcli.storage.images.contact_sheet import labelled_grid, write_contact_sheet
        from sdcli.storage.images.destination import parse_destination

        target = parse_destination(delivery.out, several=True, force=delivery.force)
        for rest, cells in self._cells.items():
            columns = list(dict.fromkeys(column for column, _ in cells))
            rows = list(dict.fromkeys(row for _, row in cells))
            pixels = labelled_grid(
                [[_load_cell(cells.get((column, row))) for column in columns] for row in rows],
                rows=[self._label(1, row) for row in rows],
                columns=[self._label(0, column) for column in columns],
            )
            job = self._first[rest]
            own = _grid_digest(rest, self.axes) if delivery.journal else None
            yield write_contact_sheet(pixels, target, job.prompt, job.seed, own=own)

    def _label(self, axis: int, value: object) -> str:
        if axis >= len(self.axes):
            return ""
        name = self.axes[axis]
        return (
            str(value)
            if name in _UNLABELLED
            else f"{_SHORT_NAMES.get(name, name)} {_format_axis_value(value)}"
        )


def write_batch_grids(
    source: RequestSource, delivery: RunOptions, axes: Sequence[str]
) -> Iterator[str]:
    """Draw the grids of a batch from its folder: whatever is done, in this start or before.

    `source` are the batch's requests, once more. The grids' paths. Raises OutputError.
    """
    from sdcli.storage.images.pixels import read_pixels

    grids, shelf = XYGrids(axes=axes), ResultWriter(replace(delivery, rerun=None))
    try:
        assert shelf.jobs is not None
        planner = Planner(lambda warning: None, shelf.jobs.draw_seed, source.wildcards)
        while jobs := planner.plan(source.take(PLANNING_WINDOW, wait=True)):
            for job, path in shelf.jobs.completed(shelf.jobs.number_jobs(jobs)):
                grids.add_lazy(job, lambda path=path: read_pixels(path)[0])  # type: ignore[misc]
        yield from grids.write(delivery)
    finally:
        shelf.close()


def _load_cell(picture: Picture | None) -> NDArray[np.uint8] | None:
    return picture() if picture else None


def _grid_digest(rest: Hashable, axes: Sequence[str]) -> str:
    """Eight digits that tell a grid from the others of its folder, in every start the same."""
    return hashlib.sha256(repr((rest, axes)).encode()).hexdigest()[:8]


def _axis_value(job: Job, name: str) -> object:
    if name == SIZE:
        return f"{job.width}x{job.height}"
    if name == "scheduler":
        return job.scheduler_label
    return getattr(job, name) if hasattr(job, name) else getattr(job.spec, name)


def _format_axis_value(value: object) -> str:
    if value is None:
        return "of the model"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _remaining_fields(job: Job, axes: Sequence[str]) -> Hashable:
    """All that tells a job from others, but for the axes."""
    left_out = {
        *_IGNORED_FIELDS,
        *(part for name in axes for part in _AXIS_FIELDS.get(name, (name,))),
    }
    facts = {**job.field_values(), **vars(job.spec)}
    return tuple((name, repr(value)) for name, value in facts.items() if name not in left_out)
