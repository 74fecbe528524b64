"""What sdcli is measured against: plain Diffusers scripts, as their users write them.

ONE and MANY take one JSON argument and print one JSON line: seconds by phase, and the digest of
every picture's pixels as `output.record` makes it.
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

FULL_SIZE: Final = """
import json, sys
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer
ask = json.loads(sys.argv[1])
torch.manual_seed(0)
tokenizer = CLIPTokenizer.from_pretrained(ask["tokenizer"], local_files_only=True)
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
).save_pretrained(ask["out"])
"""
"""A model of Stable Diffusion 1.5's shape with random weights, 3.9 GB: for time, not pictures."""
