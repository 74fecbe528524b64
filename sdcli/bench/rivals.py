"""What sdcli is measured against: plain Diffusers scripts, as their users write them.

Each takes one JSON argument and prints one JSON line: seconds by phase, and the digest of every
picture's pixels as `output.record` makes it.
"""

from __future__ import annotations

from typing import Final

_LOAD: Final = """
import hashlib, json, sys, time
ask = json.loads(sys.argv[1])
started = time.perf_counter()
import torch
import diffusers
from diffusers import StableDiffusionPipeline
imported = time.perf_counter()
pipe = StableDiffusionPipeline.from_pretrained(ask["model"], dtype=torch.float32)
scheduler = getattr(diffusers, ask["scheduler_class"])
pipe.scheduler = scheduler.from_config(pipe.scheduler.config, **ask["scheduler_config"])
pipe.set_progress_bar_config(disable=True)
loaded = time.perf_counter()

def report(images, **seconds):
    heads = [b"RGB %d %d\\n" % image.size for image in images]
    digests = [hashlib.sha256(h + i.tobytes()).hexdigest() for h, i in zip(heads, images)]
    print(json.dumps({"seconds": seconds, "pixels_sha256": digests}))

"""

ONE: Final = (
    _LOAD
    + """
image = pipe(
    ask["prompt"],
    num_inference_steps=ask["steps"],
    guidance_scale=ask["guidance"],
    width=ask["width"],
    height=ask["height"],
    generator=torch.Generator().manual_seed(ask["seed"]),
).images[0]
drawn = time.perf_counter()
image.save(ask["out"])
saved = time.perf_counter()
report(
    [image],
    **{"import": imported - started},
    load=loaded - imported,
    draw=drawn - loaded,
    save=saved - drawn,
)
"""
)
"""One picture."""

MANY: Final = (
    _LOAD
    + """
prompts, size, made = ask["prompts"], ask["batch_size"], []
for first in range(0, len(prompts), size):
    part = prompts[first : first + size]
    images = pipe(
        part,
        num_inference_steps=ask["steps"],
        guidance_scale=ask["guidance"],
        width=ask["width"],
        height=ask["height"],
        generator=[torch.Generator().manual_seed(ask["seed"]) for _ in part],
    ).images
    for i, image in enumerate(images, first):
        image.save(f'{ask["out"]}/{i:04d}.png')
    made += images
done = time.perf_counter()
report(made, **{"import": imported - started}, load=loaded - imported, draw=done - loaded)
"""
)
"""A picture a prompt, `batch_size` prompts at a time."""
