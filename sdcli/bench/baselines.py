"""Define the plain Diffusers scripts that sdcli is compared with, as their users write them.

Each script takes one JSON argument. SINGLE_IMAGE and BATCH print one JSON line with the seconds of
each phase, the peak memory and, for every image, the digest of its pixels as in
`storage.metadata.record`.
"""

from __future__ import annotations

from typing import Final

from sdcli.bench.peak_memory import PEAK_GB

# Importing torch and Diffusers takes seconds that a user waits for, so it is part of the timing.
_LOAD: Final = (
    PEAK_GB
    + """
import hashlib, json, sys, time
args = json.loads(sys.argv[1])
started = time.perf_counter()
import torch
import diffusers
from diffusers import StableDiffusionPipeline
imported = time.perf_counter()
pipe = StableDiffusionPipeline.from_pretrained(args["model"], dtype=torch.float32)
scheduler = getattr(diffusers, args["scheduler_class"])
pipe.scheduler = scheduler.from_config(pipe.scheduler.config, **args["scheduler_config"])
pipe.set_progress_bar_config(disable=True)
loaded = time.perf_counter()

def report(images, **seconds):
    headers = [b"RGB %d %d\\n" % image.size for image in images]
    digests = [hashlib.sha256(h + i.tobytes()).hexdigest() for h, i in zip(headers, images)]
    print(json.dumps({"seconds": seconds, "pixels_sha256": digests, "peak_gb": peak_gb()}))

"""
)

SINGLE_IMAGE: Final = (
    _LOAD
    + """
image = pipe(
    args["prompt"],
    num_inference_steps=args["steps"],
    guidance_scale=args["guidance"],
    width=args["width"],
    height=args["height"],
    generator=torch.Generator().manual_seed(args["seed"]),
).images[0]
denoised = time.perf_counter()
image.save(args["out"])
saved = time.perf_counter()
report(
    [image],
    **{"import": imported - started},
    load=loaded - imported,
    draw=denoised - loaded,
    save=saved - denoised,
)
"""
)
"""Generate one image."""

BATCH: Final = (
    _LOAD
    + """
prompts, size, results = args["prompts"], args["batch_size"], []
for first in range(0, len(prompts), size):
    batch = prompts[first : first + size]
    images = pipe(
        batch,
        num_inference_steps=args["steps"],
        guidance_scale=args["guidance"],
        width=args["width"],
        height=args["height"],
        generator=[torch.Generator().manual_seed(args["seed"]) for _ in batch],
    ).images
    for i, image in enumerate(images, first):
        image.save(f'{args["out"]}/{i:04d}.png')
    results += images
done = time.perf_counter()
report(results, **{"import": imported - started}, load=loaded - imported, draw=done - loaded)
"""
)
"""Generate one image for each prompt, `batch_size` prompts at a time."""

SAVE_FULL_SIZE_MODEL: Final = """
import json, sys
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer
args = json.loads(sys.argv[1])
torch.manual_seed(0)
tokenizer = CLIPTokenizer.from_pretrained(args["tokenizer"], local_files_only=True)
text = CLIPTextConfig(
    vocab_size=len(tokenizer), hidden_size=768, intermediate_size=3072, num_hidden_layers=12,
    num_attention_heads=12, bos_token_id=tokenizer.bos_token_id,
    eos_token_id=tokenizer.eos_token_id,
)
wide = {"block_out_channels": (128, 256, 512, 512), "layers_per_block": 2, "sample_size": 512}
StableDiffusionPipeline(
    vae=AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        **wide,
    ),
    text_encoder=CLIPTextModel(text),
    tokenizer=tokenizer,
    unet=UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8),
    scheduler=DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False,
        set_alpha_to_one=False, steps_offset=1,
    ),
    safety_checker=None, feature_extractor=None, requires_safety_checker=False,
).save_pretrained(args["out"])
"""
"""Save a model of the size of Stable Diffusion 1.5 with random weights (3.9 GB).

The time of a step does not depend on the weights.
"""
