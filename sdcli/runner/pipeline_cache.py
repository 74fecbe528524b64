"""Keep loaded pipelines in memory, and let one thread at a time load or generate."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import Lock, get_ident
from typing import TYPE_CHECKING, Final

from sdcli.checkpoints.file_state import FilesState
from sdcli.checkpoints.recorded import local_states
from sdcli.pipeline_spec import PipelineSpec
from sdcli.planning.batching import same_base_model

if TYPE_CHECKING:
    from sdcli.engine import LoadedPipeline

# A model can be written to, and a relative path leads elsewhere once the working directory changes.
_Key = tuple[PipelineSpec, tuple[tuple[str, FilesState], ...]]


class PipelineCache:
    """Loaded pipelines, of which the most recently used are kept.

    At most `max_pipelines` are kept, and together they hold at most `max_bytes` of weights; weights
    that pipelines share count once. The pipeline in use is kept whatever its size. While another
    one loads, the new weights come on top unless their size is known from an earlier load.
    """

    def __init__(self, *, max_pipelines: int = 1, max_bytes: int | None = None) -> None:
        if max_pipelines < 1:
            raise ValueError(f"max_pipelines must be at least 1, not {max_pipelines}")
        self._max_pipelines = max_pipelines
        self._max_bytes = max_bytes
        # The least recently used comes first.
        self._pipelines: OrderedDict[_Key, LoadedPipeline] = OrderedDict()
        self._known_bytes: dict[_Key, int] = {}
        self._serves_runs = False

    def serve_runs(self, *, max_pipelines: int, max_bytes: int) -> None:
        """Set the limits for a process of several runs, and tell each run the notes of a load."""
        self._max_pipelines, self._max_bytes = max_pipelines, max_bytes
        self._serves_runs = True

    def end_run(self) -> None:
        """Forget how long loading took and what was measured: the next run starts afresh."""
        from sdcli.engine import forget_import_seconds

        forget_import_seconds()
        for pipeline in self._pipelines.values():
            pipeline.memory.forget()
            pipeline.placement.forget()
            pipeline.seconds.update(dict.fromkeys(pipeline.seconds, 0.0))

    @property
    def specs(self) -> tuple[PipelineSpec, ...]:
        """The specs of the loaded pipelines, most recently used first."""
        return tuple(spec for spec, _ in reversed(self._pipelines))

    @property
    def weight_bytes(self) -> int:
        """Bytes of all loaded weights."""
        return sum(_tensor_bytes(*self._pipelines.values()).values())

    @contextmanager
    def load(
        self, spec: PipelineSpec, warn: Callable[[str], None] | None = None
    ) -> Iterator[LoadedPipeline]:
        """Lend the pipeline of `spec`, loading it if necessary; `warn` gets the notes of a load.

        Within, no other thread of the process loads or generates, with this cache or another. Do
        not yield to code that may never return. Raises what `engine.load` raises, and RuntimeError
        when this thread is already within.
        """
        with _engine_lock.held():
            yield self._find_or_load(spec, warn)

    def clear(self) -> None:
        """Forget all pipelines."""
        with _engine_lock.held():
            self._pipelines.clear()

    def _find_or_load(
        self, spec: PipelineSpec, warn: Callable[[str], None] | None
    ) -> LoadedPipeline:
        from sdcli import engine

        key, is_new = (spec, local_states(spec)), False
        if key not in self._pipelines:
            relative = self._find_same_base_model(key)
            # Before the load: two models may not fit into memory together.
            self._evict(self._max_pipelines - 1, incoming_bytes=self._known_bytes.get(key, 0))
            pipeline = engine.load(spec, like=relative, tell=warn)
            self._pipelines[key] = pipeline
            self._known_bytes[key] = sum(_tensor_bytes(pipeline).values())
            is_new = True
        if warn and (is_new or self._serves_runs):
            for note in self._pipelines[key].notes:
                warn(note)
        self._pipelines.move_to_end(key)
        self._evict(self._max_pipelines)
        return self._pipelines[key]

    def _find_same_base_model(self, key: _Key) -> LoadedPipeline | None:
        """A loaded pipeline that differs in the VAE only."""
        spec, states = key
        for (other, other_states), pipeline in reversed(self._pipelines.items()):
            changed = {field for field, _ in {*states} ^ {*other_states}}
            if same_base_model(other, spec) and changed <= {"vae"}:
                return pipeline
        return None

    def _evict(self, max_pipelines: int, incoming_bytes: int | None = None) -> None:
        """Forget the least recently used pipelines until the rest keeps the limits.

        Without `incoming_bytes` nothing is about to be loaded, and the last one always stays.
        """
        minimum = 1 if incoming_bytes is None else 0
        while len(self._pipelines) > minimum and (
            len(self._pipelines) > max_pipelines or self._exceeds_bytes(incoming_bytes or 0)
        ):
            self._pipelines.popitem(last=False)

    def _exceeds_bytes(self, incoming_bytes: int) -> bool:
        return self._max_bytes is not None and (
            self.weight_bytes + incoming_bytes > self._max_bytes
        )


def _tensor_bytes(*pipelines: LoadedPipeline) -> dict[int, int]:
    """Bytes of every parameter by identity, since pipelines of one model share its tensors."""
    return {
        id(tensor): tensor.nbytes
        for loaded in pipelines
        for component in _components(loaded)
        if hasattr(component, "parameters")
        for tensor in component.parameters()
    }


def _components(loaded: LoadedPipeline) -> Iterator[object]:
    yield from loaded.pipeline.components.values()
    yield from loaded.controlnets.models.values()
    yield from loaded.ip_adapters.models
    if loaded.refiner:
        yield from loaded.refiner.pipeline.components.values()


class _EngineLock:
    """A lock that notices when its own thread asks for it again."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._owner: int | None = None

    @contextmanager
    def held(self) -> Iterator[None]:
        # A callback that generated with the pipeline in use would replace its scheduler mid-run.
        if self._owner == get_ident():
            raise RuntimeError("a callback of a run cannot generate images itself")
        with self._lock:
            self._owner = get_ident()
            try:
                yield
            finally:
                self._owner = None


# One lock for the process, not one per cache: while Diffusers and Transformers load, they replace
# torch's functions for everybody, and a model that loads meanwhile is left without weights. Drawing
# changes the pipeline's scheduler and the process's warning filters.
_engine_lock: Final = _EngineLock()


def engine_lock() -> AbstractContextManager[None]:
    """Keep other threads from loading and generating, for work with the engine without a pipeline.

    Raises RuntimeError, on entering, when this thread is already within. Do not yield within.
    """
    return _engine_lock.held()


DEFAULT_CACHE: Final = PipelineCache()
"""The cache of `sdcli.generate` and of the command line: one pipeline at a time."""
