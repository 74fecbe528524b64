"""Make blocks of jobs in an actor of Ray. The cluster's machines import this module.

Ray runs a block again when its actor dies, so that a job may come twice. The journal makes it once
on disk.
"""

from __future__ import annotations

import os
import pickle
import platform
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

import ray

from sdcli.distributed.block_worker import BlockWorker
from sdcli.distributed.messages import Failed, Message, Verdict, WorkerSettings
from sdcli.errors import DeviceError, OutputError, SdcliError
from sdcli.versions import __version__


class RayWorker:
    """The function that Ray Data maps over the blocks of a run.

    No error leaves it: Ray would end the run, and say so in fifty lines.
    """

    def __init__(self, settings: bytes, version: str, coordinator: Any) -> None:
        self._settings = settings
        self._version = version
        self._coordinator = coordinator
        self._worker: BlockWorker | None = None
        self._messages: list[Message] = []

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[bytes]]:
        """Make blocks, each the pickled jobs in "jobs"; returns the pickled messages of each."""
        return {"messages": [pickle.dumps(self._make(jobs)) for jobs in batch["jobs"]]}

    def _make(self, jobs: bytes) -> list[Message]:
        self._messages = []
        try:
            worker = self._worker = self._worker or self._start()
            worker.make(pickle.loads(jobs))
            # What is not saved when the block is returned would be lost with the actor.
            worker.flush()
        except SdcliError as error:
            self._abort(error)
        except Exception as error:
            traceback.print_exc()
            text = f"on {platform.node()}: {type(error).__name__}: {error}"
            self._abort(SdcliError(text, code="ray.worker", hint="see the logs of Ray"))
        return self._messages

    def _start(self) -> BlockWorker:
        if self._version != __version__:
            raise DeviceError(
                f"{platform.node()} has sdcli {__version__}, but this machine has {self._version}",
                code="ray.version",
                hint="install the same version everywhere",
            )
        settings: WorkerSettings = pickle.loads(self._settings)
        try:
            # Relative paths are those of the machine that planned the run.
            os.chdir(settings.folder)
        except OSError as error:
            raise OutputError(
                f"{platform.node()}: {settings.folder}: {error.strerror}",
                code="output.ray",
                hint="start sdcli in a folder that all machines of the cluster share",
            ) from error
        return BlockWorker(settings, self._tell, self._is_stopping, self._begin)

    def _abort(self, error: SdcliError) -> None:
        worker, self._worker = self._worker, None
        if not worker:
            self._messages.append(Failed.from_error(error))
            return
        try:
            worker.abort(error)
        finally:
            worker.close()

    def _tell(self, message: Message) -> None:
        self._messages.append(message)

    def _is_stopping(self) -> bool:
        return bool(ray.get(self._coordinator.is_stopping.remote()))

    def _begin(self, indices: Sequence[int]) -> Verdict:
        verdict: Verdict = ray.get(self._coordinator.begin.remote(list(indices)))
        return verdict
