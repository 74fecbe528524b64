"""Write the results of a run: images, sidecars, latents and the journal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sdcli.errors import OutputError, UsageError
from sdcli.inputs.paths import is_url
from sdcli.result import GenerationResult, SavedImage
from sdcli.runner.options import RunOptions
from sdcli.shard import Shard

if TYPE_CHECKING:
    from sdcli.storage.images.destination import Destination
    from sdcli.storage.jobs.archive_packer import ArchivePacker
    from sdcli.storage.jobs.store import JobStore


class ResultWriter:
    """Writes results where the options say. `jobs` is the job store of a run with a journal.

    `opening_serial` is that of JobStore. A worker leaves archives to the process that planned the
    run. Raises OutputError or UsageError when the destination
    cannot be written.
    """

    def __init__(
        self,
        options: RunOptions,
        *,
        opening_serial: int | None = None,
        is_worker: bool = False,
    ) -> None:
        from sdcli.storage.jobs.store import JobStore
        from sdcli.storage.latents.writer import LatentsWriter
        from sdcli.versions import library_versions

        _check_stdout(options)
        self._options = options
        destination = open_destination(options)
        self._destination: Destination = replace(destination, name_template=options.name_template)
        check_companions(self._destination, options)
        self.latents = LatentsWriter(
            self._destination.folder,
            options.save_latents,
            library_versions(),
            full_paths=options.record_paths,
        )
        self.jobs: JobStore | None = None
        self.packer: ArchivePacker | None = None
        if options.journal and self._destination.kind in ("folder", "numbered"):
            self.jobs = JobStore(
                self._destination,
                rerun=options.rerun,
                shard=options.find_shard(),
                opening_serial=opening_serial,
            )
            self._begin_shard(options)
            if options.archive_size and not is_worker:
                self.packer = self.jobs.open_packer(options.archive_size)

    def _begin_shard(self, options: RunOptions) -> None:
        shard = options.find_shard()
        if self.jobs and not shard.is_whole_run:
            # Ranks have a folder in common, and so its seeds.
            has_own_folder = shard != Shard.from_environment()
            self.jobs.begin_shard(options.expected_images, warn_unseeded=has_own_folder)

    def report_to(self, warn: Callable[[str], None]) -> None:
        """Report ignored lines of the journal, and later the processes to wait for, to `warn`."""
        if self.jobs:
            self.jobs.report_to(warn)

    def save(self, result: GenerationResult) -> tuple[SavedImage, str | None]:
        """Write the image with its sidecar and latents; returns also the path of the latents."""
        save = self._save_with_journal if self.jobs else self._save_without_journal
        saved = save(result)
        if self._options.on_result:
            self._options.on_result(result)
        return saved

    def close(self) -> None:
        """Close the tar archive and the journal, and release the jobs."""
        if self.jobs:
            self.jobs.close()
        if self._destination.archive:
            self._destination.archive.close()

    def _save_without_journal(self, result: GenerationResult) -> tuple[SavedImage, str | None]:
        from sdcli.storage.images.writer import write_image
        from sdcli.versions import library_versions

        image = write_image(
            result,
            self._destination,
            versions=library_versions(),
            metadata=self._options.metadata,
            full_paths=self._options.record_paths,
        )
        _, latents = self._save_companions(image, lambda path: self._options.force)
        return image, latents

    def _save_with_journal(self, result: GenerationResult) -> tuple[SavedImage, str | None]:
        from sdcli.storage.images.writer import image_bytes
        from sdcli.versions import library_versions

        assert self.jobs is not None
        data = image_bytes(
            result,
            self._destination,
            versions=library_versions(),
            metadata=self._options.metadata,
            full_paths=self._options.record_paths,
        )
        taken = self.jobs.take_path(result.job)
        image = SavedImage(path=str(taken.path), result=result)
        # The companions come first: the image and its line in the journal complete the job.
        sidecar, latents = self._save_companions(image, taken.replaceable.__contains__)
        names = [Path(path).name for path in (sidecar, latents) if path]
        self.jobs.save_image(result, data, taken, names)
        location_of = self.jobs.place.location_of
        return replace(image, path=location_of(image.path)), latents and location_of(latents)

    def _save_companions(
        self, image: SavedImage, may_replace: Callable[[Path], bool]
    ) -> tuple[str | None, str | None]:
        """Write the sidecar and the latents; returns the paths of those that were requested."""
        from sdcli.storage import companions
        from sdcli.storage.metadata import record
        from sdcli.versions import library_versions

        sidecar = None
        base = Path(image.path)
        # Records and prompts of an archive are taken from the sidecars.
        if self._options.sidecar or self._options.archive_size:
            force = may_replace(base.with_suffix(companions.SIDECAR))
            sidecar = record.write_sidecar(
                image, library_versions(), force=force, full_paths=self._options.record_paths
            )
        force = may_replace(base.with_suffix(companions.LATENTS))
        return sidecar, self.latents.finish(image, force=force)


def open_destination(options: RunOptions) -> Destination:
    """Create the folder of `options.out`, or find the store of a URL, before any work is done.

    Raises UsageError and OutputError.
    """
    from sdcli.storage.images.destination import parse_destination, parse_remote_destination

    if is_url(options.out):
        _check_url(options)
        return parse_remote_destination(options.out, force=options.force)
    return parse_destination(
        options.out,
        several=options.journal or options.expected_images != 1,
        force=options.force,
        archive=options.tar,
    )


def _check_url(options: RunOptions) -> None:
    reason = hint = None
    if not options.journal:
        reason = "only sdcli batch writes to URLs: its journal records which images are complete"
        hint = f"sdcli batch PROMPTS.txt --out {options.out}"
    elif options.archive_size:
        reason = "--archive packs files of this machine; write to a folder, and copy the archives"
    if reason:
        raise UsageError(f"--out {options.out}: {reason}", code="usage.out", hint=hint)


def check_companions(destination: Destination, options: RunOptions) -> None:
    """Check before a long run that the files beside a single image do not exist yet."""
    from sdcli.storage import companions, files

    if destination.kind != "file" or options.force:
        return
    suffixes = [companions.LATENTS] if options.save_latents is not None else []
    suffixes += [companions.SIDECAR] if options.sidecar else []
    for suffix in suffixes:
        path = files.sibling_path(str(destination.path), suffix)
        if path.exists():
            raise OutputError(
                f"{path} exists", code="output.exists", hint="choose another name, or add --force"
            )


def _check_stdout(options: RunOptions) -> None:
    if options.tar and options.out != "-":
        raise UsageError(
            f"--format tar: a tar is written to stdout, but --out is {options.out}",
            code="usage.format",
            hint="add `--out -`",
        )
    if options.out == "-" and (
        options.report != "paths" or options.sidecar or options.save_latents
    ):
        raise UsageError(
            "--out -: stdout takes the image alone, without JSON, latents or a sidecar",
            code="usage.out",
            hint="give --out a file or a folder",
        )
