"""Name the image files of jobs."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import PurePath
from typing import Final

from sdcli.job import Job
from sdcli.name_template import safe_name
from sdcli.prompts.placeholders import job_value, placeholder_value
from sdcli.request import REQUEST_FIELDS
from sdcli.storage.images.codec import FORMATS
from sdcli.storage.images.destination import Destination
from sdcli.storage.text import slug

_PLAIN: Final = ("scheduler", "model", "vae", "seed", "size")
"""Fields whose values need no name before them."""


def job_file_name(job: Job, destination: Destination) -> str:
    """Return the file name of a job in a folder with a journal, or in a tar.

    The name is the template's, that of the row, or the job's place in the run with its prompt and
    seed: a resumed run gives the same names.
    """
    number = f"{job.index + 1:04d}"
    chosen = _chosen_stem(job, destination)
    if destination.kind in ("folder", "stdout"):
        return f"{chosen or f'{number}-{descriptive_stem(job)}'}{destination.suffix}"
    return f"{destination.path.stem}-{chosen or number}{destination.path.suffix}"


def new_names(job: Job, destination: Destination) -> Iterator[str]:
    """Yield the names that a job may take, without end: its own first."""
    return alternative_names(job_file_name(job, destination), job.id)


def alternative_names(name: str, job_id: str) -> Iterator[str]:
    """Yield a file name, and then those that a job takes when others have it."""
    first = PurePath(name)
    yield first.name
    for number in count(1):
        ending = f"-{number}" if number > 1 else ""
        yield f"{first.stem}-{job_id[:8]}{ending}{first.suffix}"


def first_file_name(job: Job, destination: Destination) -> str:
    """Return the file name that version 0.1.0 gave a job in a folder."""
    if destination.kind == "folder":
        return f"{job.index + 1:04d}-{slug(job.prompt)}-{job.seed}{destination.suffix}"
    return job_file_name(job, destination)


def descriptive_stem(job: Job) -> str:
    """The prompt, the seed, and whatever else differs between the images of the prompt."""
    varied = [part for name in job.row.varied if name != "seed" if (part := _part(job, name))]
    return safe_name("-".join([slug(job.prompt), str(job.seed), *varied]))


def _chosen_stem(job: Job, destination: Destination) -> str:
    """The name that the user chose, "" without any."""
    if destination.name_template:
        return destination.name_template.fill(placeholder_value(job))
    name = safe_name(_without_suffix(job.name or ""))
    varied = [part for field in job.row.varied if (part := _part(job, field))] if name else []
    return safe_name("-".join([name, *varied]))


def _without_suffix(name: str) -> str:
    suffix = PurePath(name).suffix
    return name.removesuffix(suffix) if suffix.lower() in FORMATS else name


def _part(job: Job, name: str) -> str:
    """A field and its value, as in "steps-20"; "" for a value left open."""
    value = job_value(job, name)
    if value in (None, ""):
        return ""
    # A dash that stands for the first character of a text would stand beside that of the label.
    text = f"{value:g}" if isinstance(value, float) else safe_name(str(value))
    label = REQUEST_FIELDS[name].option_name if name in REQUEST_FIELDS else name
    label = name if label == "size" else label
    return safe_name(text if name in _PLAIN else f"{label}-{text}").lower()
