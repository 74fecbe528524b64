"""Open the place of a run's images, and tell where one is."""

from __future__ import annotations

from sdcli.job import Job
from sdcli.result import DoneImage
from sdcli.storage.images.destination import Destination
from sdcli.storage.jobs.journal_index import JournalEntry
from sdcli.storage.jobs.output_folder import OutputFolder
from sdcli.storage.jobs.output_place import OutputPlace
from sdcli.storage.jobs.remote_folder import RemoteFolder


def open_place(destination: Destination) -> OutputPlace:
    """Open the folder of a destination, or its store. Raises OutputError."""
    if destination.store:
        return RemoteFolder(destination.store, destination.folder)
    return OutputFolder(destination.folder)


def done_image(place: OutputPlace, job: Job, known: JournalEntry | None) -> DoneImage:
    """The image of a job by its entry in the journal."""
    entry = known or JournalEntry()
    return DoneImage(
        job=job,
        path=place.location(entry),
        pixels_sha256=entry.pixels_sha256,
        latents=place.latents_location(entry),
    )
