"""Define what the process that plans a run and its workers send to each other."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from sdcli.errors import DeviceError, ExitCode, SdcliError
from sdcli.job import Job
from sdcli.result import StepEvent
from sdcli.runner.options import RunOptions
from sdcli.storage.jobs.journal_mark import JournalMark
from sdcli.versions import __version__


@dataclass(frozen=True, kw_only=True)
class WorkerSettings:
    """The facts that a worker must know before its first job.

    `opening_serial` is the number of journal entries before the run. `folder` is the working
    directory, which relative paths of the jobs begin at. `journal` is the one that the workers
    share, if it is a file.
    """

    options: RunOptions
    batch_size: int | None
    opening_serial: int
    folder: str
    journal: JournalMark | None = None
    version: str = __version__


@dataclass(frozen=True)
class Block:
    """Jobs to make, which can share a batch."""

    jobs: tuple[Job, ...]


@dataclass(frozen=True)
class Stop:
    """Finish the images in progress, and begin no other."""


@dataclass(frozen=True)
class Ready:
    """The worker waits for jobs."""


@dataclass(frozen=True)
class Began:
    """The jobs with these indices are being made, in one batch."""

    indices: tuple[int, ...]


@dataclass(frozen=True)
class Made:
    """An image is on disk and in the journal: its document, as --json prints it."""

    document: Mapping[str, Any]

    @property
    def index(self) -> int:
        """The index of the job."""
        return int(self.document["index"])


@dataclass(frozen=True)
class Failed:
    """Jobs failed, and the journal knows it; without jobs, the error ends the run."""

    indices: tuple[int, ...]
    exit_code: int
    code: str
    message: str
    hint: str | None

    @classmethod
    def from_error(cls, error: SdcliError, indices: tuple[int, ...] = ()) -> Self:
        """The message about an error."""
        return cls(indices, int(error.exit_code), error.code, error.message, error.hint)

    def error(self) -> SdcliError:
        """The error itself: an exception with arguments of its own can't be pickled."""
        kinds = {kind.exit_code: kind for kind in SdcliError.__subclasses__()}
        kind = kinds.get(ExitCode(self.exit_code), SdcliError)
        return kind(self.message, code=self.code, hint=self.hint)


@dataclass(frozen=True)
class Settled:
    """Other processes have made these jobs, or failed to."""

    indices: tuple[int, ...]


@dataclass(frozen=True)
class Busy:
    """Other processes are making these jobs: `owners` in words."""

    indices: tuple[int, ...]
    owners: tuple[str, ...]


@dataclass(frozen=True)
class Warned:
    """A warning for the user."""

    text: str


@dataclass(frozen=True)
class Noted:
    """A detail for --verbose."""

    text: str


@dataclass(frozen=True)
class Stepped:
    """A batch has made a step."""

    event: StepEvent


Message = Ready | Began | Made | Failed | Settled | Busy | Warned | Noted | Stepped
"""Messages of a worker."""

Verdict = tuple[Collection[int], Collection[int]]
"""The indices of the jobs of a batch that must not be made, and of those to make one at a time."""

MOST_ATTEMPTS: Final = 2
"""Deaths of a worker in the middle of an image after which the image counts as failed."""


def fatal_error(prompt: str, reason: str = "") -> DeviceError:
    """The error of an image that ends its workers; `reason` tells how the last one ended."""
    return DeviceError(
        f"{prompt!r}: {MOST_ATTEMPTS} worker processes ended while they made this image{reason}",
        code="worker.died",
        hint="is there enough memory? --retry-failed tries again",
    )
