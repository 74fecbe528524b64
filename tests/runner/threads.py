"""Generate four different images in four threads that start together.

As a script, this does it in a cold process: nothing heavy is imported when the threads start.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from threading import Barrier, Thread

from sdcli import GenerationRequest, PipelineSpec, generate

CPU = PipelineSpec(device="cpu", dtype="float32")
TINY = replace(CPU, vae="tiny")
REQUESTS = [
    GenerationRequest(
        prompt=prompt,
        spec=spec,
        scheduler=scheduler,
        num_inference_steps=steps,
        seed=seed,
        width=64,
        height=64,
    )
    for seed, (prompt, spec, scheduler, steps) in enumerate(
        [
            ("a cat", CPU, "DDIM;timestep_spacing=trailing", 3),
            ("a dog", TINY, "Euler a", 4),
            ("a red star", CPU, "DPM++ 2M Karras", 5),
            ("a fish", TINY, "Heun", 3),
        ]
    )
]


def hash_image(request: GenerationRequest) -> str:
    [result] = generate(request)
    return hashlib.sha256(result.pixels.tobytes()).hexdigest()


def hash_in_sequence() -> list[str]:
    return [hash_image(request) for request in REQUESTS]


def hash_in_threads(hash_image: Callable[[GenerationRequest], str] = hash_image) -> list[str]:
    """The hashes of all images; raises what any of the threads raised."""
    barrier = Barrier(len(REQUESTS))
    hashes = [""] * len(REQUESTS)
    errors: list[BaseException] = []

    def run(index: int) -> None:
        barrier.wait()
        try:
            hashes[index] = hash_image(REQUESTS[index])
        except BaseException as error:
            errors.append(error)

    threads = [Thread(target=run, args=(index,)) for index in range(len(REQUESTS))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return hashes


def hash_in_asyncio() -> list[str]:
    async def run() -> list[str]:
        return await asyncio.gather(*(asyncio.to_thread(hash_image, one) for one in REQUESTS))

    return asyncio.run(run())


if __name__ == "__main__":
    assert "torch" not in sys.modules
    concurrent = hash_in_asyncio() if sys.argv[1] == "asyncio" else hash_in_threads()
    # Once more, since a broken start used to leave the process broken.
    print(json.dumps([concurrent, hash_in_sequence()]))
