"""The pipeline cache: its limits, what it reuses, and threads that generate at the same time."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from sdcli import engine
from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from sdcli.errors import ModelError
from sdcli.pipeline_spec import PipelineSpec
from sdcli.prompts.sources import IterableSource
from sdcli.result import GenerationResult
from sdcli.runner.loop import generate, iter_results
from sdcli.runner.pipeline_cache import PipelineCache, engine_lock
from tests.runner.conftest import CPU, make_request
from tests.runner.threads import hash_in_asyncio, hash_in_sequence, hash_in_threads

ROOT = Path(__file__).parents[2]
TINY = replace(CPU, vae="tiny")
BFLOAT16 = replace(CPU, dtype="bfloat16")


@pytest.fixture(scope="module")
def sequential() -> list[str]:
    return hash_in_sequence()


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[PipelineSpec]]:
    """The specs that were loaded completely, without a pipeline of the same model."""
    complete: list[PipelineSpec] = []
    load = engine.load

    def record(
        spec: PipelineSpec, like: engine.LoadedPipeline | None = None, **more: Any
    ) -> object:
        if like is None:
            complete.append(spec)
        return load(spec, like=like, **more)

    monkeypatch.setattr(engine, "load", record)
    return complete


def use(cache: PipelineCache, *specs: PipelineSpec) -> None:
    for spec in specs:
        with cache.load(spec) as pipeline:
            assert pipeline.spec == spec


def test_threads_generate_what_one_thread_generates(sequential: list[str]) -> None:
    assert len(set(sequential)) == 4
    assert hash_in_threads() == sequential
    assert hash_in_asyncio() == sequential


@pytest.mark.sample(1)
@pytest.mark.parametrize("way", ["threads", "asyncio"])
def test_a_cold_process_can_begin_with_threads(way: str, sequential: list[str]) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.runner.threads", way],
        capture_output=True, text=True, cwd=ROOT, env=environment, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == [sequential, sequential]


def test_threads_with_caches_of_their_own_take_turns_too(sequential: list[str]) -> None:
    """Loading changes torch for the whole process, so one lock per cache would not do."""
    import hashlib

    def hash_image(request: object) -> str:
        cache = PipelineCache()
        [result] = iter_results(IterableSource([request]), cache=cache)
        return hashlib.sha256(result.pixels.tobytes()).hexdigest()

    assert hash_in_threads(hash_image) == sequential


def test_one_pipeline_is_kept_by_default(loads: list[PipelineSpec]) -> None:
    cache = PipelineCache()
    use(cache, CPU, CPU)
    assert (cache.specs, loads) == ((CPU,), [CPU])
    use(cache, BFLOAT16, CPU)
    assert (cache.specs, loads) == ((CPU,), [CPU, BFLOAT16, CPU])


def test_another_vae_reuses_the_other_components(loads: list[PipelineSpec]) -> None:
    cache = PipelineCache()
    with cache.load(CPU) as pipeline:
        unet, vae = pipeline.pipeline.unet, pipeline.pipeline.vae
    with cache.load(TINY) as pipeline:
        assert pipeline.pipeline.unet is unet
        assert pipeline.pipeline.vae is not vae
    assert loads == [CPU]


def test_the_most_recently_used_are_kept(loads: list[PipelineSpec]) -> None:
    cache = PipelineCache(max_pipelines=2)
    use(cache, CPU, BFLOAT16, CPU)
    assert cache.specs == (CPU, BFLOAT16)
    use(cache, TINY)
    assert cache.specs == (TINY, CPU)
    assert loads == [CPU, BFLOAT16]


def test_weights_that_pipelines_share_count_once() -> None:
    cache = PipelineCache(max_pipelines=2)
    use(cache, CPU)
    alone = cache.weight_bytes
    assert alone > 1_000_000
    with cache.load(TINY) as pipeline:
        vae_bytes = sum(tensor.nbytes for tensor in pipeline.pipeline.vae.parameters())
    assert cache.weight_bytes == alone + vae_bytes


def test_controlnets_count_and_are_kept_with_another_vae() -> None:
    cache = PipelineCache()
    with cache.load(CPU) as pipeline:
        alone, network = cache.weight_bytes, torch.nn.Linear(10, 10, bias=False)
        pipeline.controlnets._models["a" * 64] = network
        assert cache.weight_bytes == alone + network.weight.nbytes
    with cache.load(TINY) as pipeline:
        assert [*pipeline.controlnets.models.values()] == [network]


def test_the_weights_keep_their_limit() -> None:
    probe = PipelineCache()
    use(probe, CPU)
    float32 = probe.weight_bytes
    use(probe, BFLOAT16)
    both = float32 + probe.weight_bytes
    roomy = PipelineCache(max_pipelines=9, max_bytes=both)
    use(roomy, CPU, BFLOAT16)
    assert roomy.specs == (BFLOAT16, CPU)
    tight = PipelineCache(max_pipelines=9, max_bytes=both - 1)
    use(tight, CPU, BFLOAT16)
    assert tight.specs == (BFLOAT16,)
    none = PipelineCache(max_pipelines=9, max_bytes=0)
    use(none, CPU)
    assert none.specs == (CPU,)  # the one in use stays


def test_a_pipeline_of_known_size_makes_room_before_it_loads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cache = PipelineCache(max_pipelines=9, max_bytes=1)
    use(cache, CPU, BFLOAT16)
    held: list[int] = []
    load = engine.load
    monkeypatch.setattr(
        engine, "load", lambda *a, **k: (held.append(cache.weight_bytes), load(*a, **k))[1]
    )
    use(cache, CPU)
    assert held == [0]


def test_no_pipelines_at_all_is_not_a_limit() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        PipelineCache(max_pipelines=0)


def test_a_pipeline_that_does_not_load_leaves_the_cache_usable(tmp_path: Path) -> None:
    cache = PipelineCache()
    use(cache, CPU)
    with pytest.raises(ModelError), cache.load(replace(CPU, model=str(tmp_path))):
        pass
    use(cache, CPU)
    cache.clear()
    assert cache.specs == ()


def test_notes_of_a_load_are_warned_of_once() -> None:
    cache, notes = PipelineCache(), list[str]()
    for _ in range(2):
        with cache.load(replace(CPU, vae="tiny"), notes.append) as pipeline:
            assert notes == list(pipeline.notes)


def test_an_abandoned_generator_holds_no_lock() -> None:
    results = iter_results(IterableSource([make_request("a cat", count=2)]), batch_size=1)
    assert isinstance(next(results), GenerationResult)
    others: list[GenerationResult] = []
    thread = Thread(target=lambda: others.extend(generate(make_request("a dog"))))
    thread.start()
    thread.join(60)
    assert len(others) == 1
    assert isinstance(next(results), GenerationResult)


def test_a_callback_cannot_generate() -> None:
    with pytest.raises(RuntimeError, match="callback"):
        generate(make_request("a cat"), on_step=lambda event: generate(make_request("a dog")))
    assert len(generate(make_request("a cat"))) == 1


def test_the_engine_lock_is_that_of_the_pipelines() -> None:
    with engine_lock(), pytest.raises(RuntimeError, match="cannot generate"):
        PipelineCache().clear()


def test_a_relative_name_is_another_model_after_a_change_of_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, hashes = PipelineCache(max_pipelines=2), {}
    for name, change in (("a", 1.0), ("b", 0.5)):
        _write_model(tmp_path / name / "model", change)
        monkeypatch.chdir(tmp_path / name)
        request = make_request("a cat", spec=replace(CPU, model="model"))
        [result] = iter_results(IterableSource([request]), cache=cache)
        hashes[name] = (result.weights["unet"], result.run.job.fingerprint, result.pixels.tobytes())
    assert not {*hashes["a"]} & {*hashes["b"]}
    monkeypatch.chdir(tmp_path / "a")
    [result] = iter_results(IterableSource([request]), cache=cache)
    assert result.pixels.tobytes() == hashes["a"][2]


def test_a_model_that_was_written_anew_is_loaded_anew(tmp_path: Path) -> None:
    model, cache = tmp_path / "model", PipelineCache()
    request = make_request("a cat", spec=replace(CPU, model=str(model)))
    seen = set()
    for change in (1.0, 0.5):
        _write_model(model, change)
        [result] = iter_results(IterableSource([request]), cache=cache)
        seen |= {result.weights["unet"], result.run.job.fingerprint, result.pixels.tobytes()}
    assert len(seen) == 6


def test_a_model_of_the_hub_that_was_updated_is_loaded_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    spec = replace(CPU, model="owner/model", offline=True)
    repo, cache = tmp_path / "models--owner--model", PipelineCache()
    (repo / "refs").mkdir(parents=True)
    seen = set()
    for commit, change in (("1" * 40, 1.0), ("2" * 40, 0.5)):
        _write_model(repo / "snapshots" / commit, change)
        (repo / "refs" / "main").write_text(commit)
        [result] = iter_results(IterableSource([make_request("a cat", spec=spec)]), cache=cache)
        seen.add(result.pixels.tobytes())
    assert len(seen) == 2


def test_the_next_run_has_no_part_in_the_load_of_an_earlier_one() -> None:
    cache = PipelineCache(max_pipelines=2)
    with cache.load(CPU) as first:
        first.memory.record_out_of_memory("kind", 2)
    assert first.seconds["import"] >= 0 < first.seconds["load"]
    cache.end_run()
    assert first.memory.batch_size("kind", 1) > 1
    assert set(first.seconds.values()) == {0.0}
    with cache.load(TINY) as second:
        # The libraries had been imported before.
        assert second.seconds["import"] == 0


def _write_model(folder: Path, factor: float) -> None:
    """Write the embedded model with the last layer of the UNet multiplied."""
    shutil.copytree(EMBEDDED_FOLDER, folder, dirs_exist_ok=True)
    [weights] = (folder / "unet").glob("*.safetensors")
    tensors = load_file(weights)
    save_file({**tensors, "conv_out.weight": tensors["conv_out.weight"] * factor}, weights)
