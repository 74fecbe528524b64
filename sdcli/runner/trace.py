"""Trace a run: open the folder, and connect it with the engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sdcli.inputs.paths import output_path
from sdcli.planning.prompt_syntax import WordPlaces
from sdcli.result import GenerationResult, SavedImage
from sdcli.runner.options import RunOptions
from sdcli.runner.word_recorder import WordRecorder

if TYPE_CHECKING:
    from sdcli.latents import LatentsSink
    from sdcli.storage.trace_writer import TraceWriter


@dataclass(frozen=True, kw_only=True, eq=False)
class RunTrace:
    """The parts of a run that write its trace; none of them without a `writer`."""

    writer: TraceWriter | None

    @property
    def sinks(self) -> Sequence[LatentsSink]:
        """Receivers of the latents."""
        return [self.writer] if self.writer else []

    @property
    def recorders(self) -> Sequence[Callable[[Any], Any]]:
        """Recorders of everything else, for `engine.generate_batch`."""
        return [WordRecorder(WordPlaces("--trace"), self._make_recorder)] if self.writer else []

    def finish(self, image: SavedImage, result: GenerationResult) -> None:
        """Complete the trace when the image is saved."""
        if self.writer:
            self.writer.finish(result)

    def _make_recorder(self, run: Any) -> Any:
        from sdcli.engine.recorders.trace import TraceRecorder

        assert self.writer is not None
        return TraceRecorder(run, self.writer)


@contextmanager
def opened_trace(options: RunOptions) -> Iterator[RunTrace]:
    """Open the folder of the trace. Raises OutputError before anything is generated."""
    if options.trace is None:
        yield RunTrace(writer=None)
        return
    from sdcli.storage.trace_writer import TraceWriter
    from sdcli.versions import library_versions

    writer = TraceWriter(
        output_path(options.trace),
        library_versions(),
        force=options.force,
        full_paths=options.record_paths,
    )
    with writer:
        yield RunTrace(writer=writer)
