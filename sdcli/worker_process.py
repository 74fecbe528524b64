"""Be the warm worker: `python -m sdcli.worker_process FOLDER KEY IDLE`, started by a client."""

from __future__ import annotations

import gc
import os
import sys
from functools import cache
from importlib import import_module

from sdcli import engine
from sdcli.cli import main
from sdcli.runner.pipeline_cache import DEFAULT_CACHE
from sdcli.server.runtime_folder import RuntimeFolder
from sdcli.server.supervisor import Supervisor

_MAX_PIPELINES = 3
_MODULES = (
    "commands.batch",
    "commands.generate",
    "runner.deliver",
    "storage.images.codec",
    "storage.images.destination",
    "storage.jobs.store",
    "storage.metadata.record",
    "terminal.json_output",
    "terminal.reports",
)
"""Modules that commands import when they are run."""


def serve(path: str, key: str, idle_seconds: float) -> None:
    """Serve the clients that find the socket in the folder `path`, until there are none."""
    # It listens from here on: clients wait for the imports instead of starting workers.
    supervisor = Supervisor(RuntimeFolder(path), key, _run, idle_seconds)
    _import_libraries()
    # What the children share with this process is not copied when they collect garbage.
    gc.collect()
    gc.freeze()
    supervisor.run()


def _run(arguments: list[str]) -> int:
    """Run one command, in a child."""
    _limit_memory()
    return main(arguments)


@cache
def _limit_memory() -> None:
    # In the child: asking for devices may create what does not survive a fork.
    has_gpu = any(device.name != "cpu" for device in engine.list_devices())
    physical_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    DEFAULT_CACHE.serve_runs(
        # On a GPU, other programs need what a second model would hold.
        max_pipelines=1 if has_gpu else _MAX_PIPELINES,
        max_bytes=physical_bytes // 2,
    )


def _import_libraries() -> None:
    """Import what a run needs, without computing anything."""
    for name in _MODULES:
        import_module(f"sdcli.{name}")
    # Names of the engine import their modules, and with them torch and Diffusers.
    _ = engine.generate_batch, engine.load
    engine.forget_import_seconds()


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2], float(sys.argv[3]))
    # Whoever asked it to stop waits for the end of a connection, which now is that of the process.
    os._exit(0)
