"""Where the images of a run go: files, a journalled folder, or stdout."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sdcli.errors import OutputError, UsageError
from sdcli.result import GenerationResult, SavedImage
from sdcli.runner.options import RunOptions
from sdcli.runner.shard import shard_from_environment

if TYPE_CHECKING:
    from sdcli.storage.images.destination import Destination
    from sdcli.storage.jobs.store import JobStore


class ResultWriter:
    """An open destination. Raises OutputError or UsageError when it cannot be one."""

    def __init__(self, delivery: RunOptions) -> None:
        from sdcli.storage.images.destination import parse_destination
        from sdcli.storage.jobs.store import JobStore
        from sdcli.storage.latents.writer import LatentsWriter
        from sdcli.versions import library_versions

        _check_stdout(delivery)
        self._delivery = delivery
        self.wildcards = delivery.wildcards
        several = delivery.journal or delivery.expected_images != 1
        self._destination: Destination = parse_destination(
            delivery.out, several=several, force=delivery.force, archive=delivery.tar
        )
        _check_companions(self._destination, delivery)
        self.latents = LatentsWriter(
            self._destination.folder, delivery.save_latents, library_versions()
        )
        self.jobs: JobStore | None = None
        if delivery.journal and self._destination.kind in ("folder", "numbered"):
            self.jobs = JobStore(
                self._destination, again=delivery.rerun, part=shard_from_environment()
            )

    def save(self, result: GenerationResult) -> tuple[SavedImage, str | None]:
        """Write the image and all that goes beside it; the path of its latents."""
        put = self._save(result)
        if self._delivery.on_result:
            self._delivery.on_result(result)
        return put

    def _save(self, result: GenerationResult) -> tuple[SavedImage, str | None]:
        if self.jobs:
            return self._save_journalled(result, self.jobs)
        from sdcli.storage.images.writer import write_image
        from sdcli.versions import library_versions

        facts, metadata = library_versions(), self._delivery.metadata
        written = write_image(result, self._destination, versions=facts, metadata=metadata)
        _, latents = self._save_companions(written, force=self._delivery.force)
        return written, latents

    def close(self) -> None:
        """End what was begun: the archive, the claims."""
        if self.jobs:
            self.jobs.close()
        if self._destination.archive:
            self._destination.archive.close()

    def _save_journalled(
        self, result: GenerationResult, ledger: JobStore
    ) -> tuple[SavedImage, str | None]:
        """What is beside comes first: the image with its line in the journal ends the job."""
        from sdcli.storage.images.writer import image_bytes
        from sdcli.versions import library_versions

        data = image_bytes(
            result, self._destination, versions=library_versions(), metadata=self._delivery.metadata
        )
        written = SavedImage(path=str(ledger.path_for(result.job)), result=result)
        sidecar, latents = self._save_companions(written, force=True)
        names = [Path(path).name for path in (sidecar, latents) if path]
        return SavedImage(path=str(ledger.save_image(result, data, names)), result=result), latents

    def _save_companions(
        self, written: SavedImage, *, force: bool
    ) -> tuple[str | None, str | None]:
        from sdcli.storage.metadata import record
        from sdcli.versions import library_versions

        sidecar = None
        if self._delivery.sidecar:
            sidecar = record.write_sidecar(written, library_versions(), force=force)
        return sidecar, self.latents.finish(written, force=force)


def _check_companions(destination: Destination, delivery: RunOptions) -> None:
    """What lies beside the one image must be free, too, before anything is drawn."""
    from sdcli.storage import files
    from sdcli.storage.latents.writer import SUFFIX

    if destination.kind != "file" or delivery.force:
        return
    asked = {SUFFIX: delivery.save_latents is not None, ".json": delivery.sidecar}
    for suffix in (suffix for suffix, is_asked in asked.items() if is_asked):
        path = files.sibling_path(str(destination.path), suffix)
        if path.exists():
            raise OutputError(
                f"{path} exists", code="output.exists", hint="choose another name, or add --force"
            )


def _check_stdout(delivery: RunOptions) -> None:
    if delivery.tar and delivery.out != "-":
        raise UsageError(
            f"--format tar: --out is {delivery.out}, and a tar goes to stdout",
            code="usage.format",
            hint="add `--out -`",
        )
    if delivery.out == "-" and (
        delivery.report != "paths" or delivery.sidecar or delivery.save_latents
    ):
        raise UsageError(
            "--out -: stdout is the image itself, with no room for JSON, latents or a sidecar",
            code="usage.out",
            hint="give --out a file or a folder",
        )
