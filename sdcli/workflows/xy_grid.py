"""Draw X/Y grids: the images of a sweep side by side, labelled with the swept values."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from sdcli.errors import UsageError, quoted
from sdcli.job import Job
from sdcli.planning.batching import PlanningWindows
from sdcli.planning.planner import Planner
from sdcli.prompts.expansion import RequestTemplate
from sdcli.prompts.fields import SIZE, canonical_field
from sdcli.prompts.placeholders import field_value
from sdcli.prompts.sources import RequestSource
from sdcli.result import GenerationResult
from sdcli.run_flags import SheetFlags
from sdcli.runner.input_images import read_image
from sdcli.runner.options import RunOptions
from sdcli.runner.writer import ResultWriter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    PixelLoader = Callable[[], NDArray[np.uint8]]
    """Returns the pixels (height, width, 3) of an image."""
    Cells = dict[tuple[object, object], PixelLoader]
    """Images by their values of the X and the Y axis."""

PROMPT: Final = "prompt"
_NO_ROW: Final = ""
_AXIS_FIELDS: Final = {
    SIZE: ("width", "height"),
    "scheduler": ("scheduler", "scheduler_label"),
    "lora": ("lora", "lora_sha256"),
    "embedding": ("embedding", "embedding_facts"),
    "controlnet": ("controlnet", "controlnet_sha256"),
    "control_image": ("control_image", "control_image_sha256"),
    "ip_adapter": ("ip_adapter", "ip_adapter_sha256"),
    "ip_image": ("ip_image", "ip_image_sha256"),
    "ip_encoder": ("ip_encoder", "ip_encoder_sha256"),
}
_IGNORED_FIELDS: Final = ("index", "spec", "occurrence", "fingerprint", "name", "row")
_SHORT_NAMES: Final = {"num_inference_steps": "steps", "guidance_scale": "guidance"}
_UNLABELLED: Final = (
    PROMPT, SIZE, "scheduler", "model", "lora", "embedding", "controlnet", "control_image",
    "ip_adapter", "ip_image", "ip_encoder",
)  # fmt: skip


def parse_grid_axes(
    text: str, template: RequestTemplate, prompts: int, *, json: bool
) -> tuple[str, ...]:
    """Parse `--grid`, such as "steps,scheduler", to the fields of the X and the Y axis.

    A single field gives one row. Raises UsageError for settings that are not swept.
    """
    if json:
        raise UsageError(
            "--grid can't be used with --json, which ends before the grids are drawn",
            code="usage.grid",
            hint="use --jsonl",
        )
    names = tuple(canonical_field(word) for word in text.split(","))
    if not 1 <= len(names) <= 2 or len(set(names)) < len(names):
        raise UsageError(
            f"--grid: expected one or two settings, not {quoted(text)}",
            code="usage.grid",
            hint="as in --grid steps,scheduler: steps from left to right, schedulers downwards",
        )
    swept = _swept_fields(template, prompts)
    for name in names:
        if name not in swept:
            raise UsageError(
                f"--grid: {name} has only one value",
                code="usage.grid",
                hint="give it several, as in --steps 10,20",
            )
    return names


def _swept_fields(template: RequestTemplate, prompts: int) -> set[str]:
    values = {**template.settings, **template.flags}
    swept = {name for name, options in values.items() if len(options) > 1}
    if prompts > 1 or template.replacements or template.wildcards:
        swept.add(PROMPT)
    return swept


@dataclass(kw_only=True)
class XYGrids:
    """Collect images into grids. Images that differ in more than the axes go to another grid.

    Settings that follow from a value of an axis, such as the steps of a LoRA for few steps, are no
    such difference. Pixels are loaded when a grid is drawn: the images of a batch stay on disk
    until then.
    """

    axes: Sequence[str]
    sheet: SheetFlags = field(default_factory=SheetFlags)
    _cells: dict[Hashable, Cells] = field(default_factory=dict)
    _first: dict[Hashable, Job] = field(default_factory=dict)
    _keys: dict[Hashable, Hashable] = field(default_factory=dict)

    def add(self, result: GenerationResult) -> None:
        """Add an image that is in memory."""
        pixels = result.pixels
        self.add_lazy(result.job, lambda: pixels)

    def add_lazy(self, job: Job, load_pixels: PixelLoader) -> None:
        """Add the image of a job, to be loaded when its grid is drawn."""
        key = self._find_key(job)
        column, row, *_ = (*(field_value(job, name) for name in self.axes), _NO_ROW)
        self._cells.setdefault(key, {})[column, row] = load_pixels
        self._first.setdefault(key, job)

    def _find_key(self, job: Job) -> Hashable:
        """The key of the grid of a job: of the same sweep, or with the same other settings."""
        rest, sweep = _remaining_fields(job, self.axes), _swept_values(job, self.axes)
        key = self._keys.get(sweep, self._keys.get(rest, rest))
        self._keys[rest] = key
        if sweep is not None:
            self._keys[sweep] = key
        return key

    def write(self, options: RunOptions) -> Iterator[str]:
        """Write the grids next to the images, and yield their paths. Raises OutputError.

        A grid of a batch has a fixed name, and replaces the one of an earlier start.
        """
        from sdcli.storage.images.contact_sheet import write_contact_sheet
        from sdcli.storage.images.destination import parse_destination

        destination = parse_destination(options.out, several=True, force=options.force)
        for key, cells in self._cells.items():
            job = self._first[key]
            digest = _grid_digest(key, self.axes) if options.journal else None
            pixels = self._draw(cells, job)
            yield write_contact_sheet(pixels, destination, job.prompt, job.seed, digest=digest)

    def _draw(self, cells: Cells, job: Job) -> NDArray[np.uint8]:
        from sdcli.storage.images.contact_sheet import labelled_grid
        from sdcli.storage.images.sheet_layout import SheetLabels

        # In the order of the sweep.
        columns = list(dict.fromkeys(column for column, _ in cells))
        rows = list(dict.fromkeys(row for _, row in cells))
        labels = SheetLabels(
            rows=[self._label(1, row) for row in rows],
            columns=[self._label(0, column) for column in columns],
            title=self._title(job),
        )
        table = [[_load_cell(cells.get((column, row))) for column in columns] for row in rows]
        return labelled_grid(table, labels, self.sheet, is_table=len(self.axes) > 1)

    def _title(self, job: Job) -> str:
        """The prompt and the seed, but for those that the axes tell."""
        texts = {PROMPT: job.prompt, "seed": f"seed {job.seed}"}
        return " · ".join(text for name, text in texts.items() if name not in self.axes)

    def _label(self, axis: int, value: object) -> str:
        if axis >= len(self.axes):
            return ""
        name = self.axes[axis]
        if name in _UNLABELLED:
            return str(value)
        return f"{_SHORT_NAMES.get(name, name.replace('_', ' '))} {_format_axis_value(value)}"


def write_batch_grids(
    source: RequestSource, options: RunOptions, axes: Sequence[str], sheet: SheetFlags
) -> Iterator[str]:
    """Draw the grids of a batch from the images in its folder, and yield their paths.

    `source` has the batch's requests once more. Images of earlier starts are included, and those
    that are not done leave empty cells. Raises OutputError.
    """
    from sdcli.storage.images.pixels import read_pixels

    grids, writer = XYGrids(axes=axes, sheet=sheet), ResultWriter(replace(options, rerun=None))
    try:
        assert writer.jobs is not None
        planner = Planner(
            lambda warning: None, writer.jobs.draw_seed, source.wildcards, read_image=read_image
        )
        windows = PlanningWindows(source, planner)
        while jobs := windows.take():
            for job, path in writer.jobs.completed(writer.jobs.number_jobs(jobs)):
                # The default argument keeps this path: the lambda runs after the loop.
                grids.add_lazy(job, lambda path=path: read_pixels(path)[0])  # type: ignore[misc]
        yield from grids.write(options)
    finally:
        writer.close()


def _load_cell(load_pixels: PixelLoader | None) -> NDArray[np.uint8] | None:
    return load_pixels() if load_pixels else None


def _grid_digest(key: Hashable, axes: Sequence[str]) -> str:
    """Eight digits that identify a grid in its folder, the same in every start."""
    return hashlib.sha256(repr((key, axes)).encode()).hexdigest()[:8]


def _format_axis_value(value: object) -> str:
    if value is None:
        return "of the model"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _swept_values(job: Job, axes: Sequence[str]) -> Hashable:
    """What identifies a grid within a sweep; None if the job is of no sweep.

    All other settings of a sweep are equal, or follow from the values of the axes.
    """
    row = job.row
    if not row.varied:
        return None
    names = sorted({PROMPT, "seed", "lora", *row.varied} - set(axes))
    return (row.file, row.line, *((name, repr(field_value(job, name))) for name in names))


def _remaining_fields(job: Job, axes: Sequence[str]) -> Hashable:
    """All fields of a job that must be equal within a grid."""
    excluded = {
        *_IGNORED_FIELDS,
        *(part for name in axes for part in _AXIS_FIELDS.get(name, (name,))),
    }
    values = {**job.field_values(), **vars(job.spec)}
    return tuple((name, repr(value)) for name, value in values.items() if name not in excluded)
