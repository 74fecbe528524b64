"""The manual and the example prompt files, which are part of the package."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent
EXAMPLES: Final = FOLDER / "prompts"

TOPICS: Final = (
    "install",
    "models",
    "image-to-image",
    "prompts",
    "add-ons",
    "train-lora",
    "controlnet",
    "ip-adapter",
    "prompt-files",
    "options",
    "coming-from",
    "records",
    "seeds",
    "schedulers",
    "latents",
    "attention",
    "explain",
    "gallery",
    "scripting",
    "clusters",
    "python",
    "performance",
    "faq",
    "glossary",
)
"""The pages of the manual in reading order: `install` is `install.md` in this folder."""

OTHER_NAMES: Final = {
    name: topic
    for topic, names in {
        "install": "cuda rocm mac macos windows wsl pip uninstall upgrade update completion gpu",
        "models": "model checkpoint sdxl xl sd15 sd2 refiner civitai hub huggingface licence"
        " license vaes cache download safetensors pickle ckpt text-encoder turbo lightning weights",
        "image-to-image": "image img2img inpaint inpainting outpaint outpainting mask hires upscale"
        " hires-fix strength",
        "prompts": "prompt weighting attention-syntax break and tokens-limit a1111-syntax compel"
        " pag",
        "add-ons": "addon add-on lora locon lycoris embedding textual-inversion ti freeu lcm-lora",
        "train-lora": "training-lora fine-tune finetune finetuning dreambooth captions peft",
        "controlnet": "control canny depth pose openpose scribble t2i-adapter",
        "prompt-files": "csv tsv yaml toml txt excel spreadsheet wildcard sweep columns products",
        "options": "option flags settings config sdcli.toml toml-settings profile steps"
        " guidance cfg",
        "coming-from": "a1111 automatic1111 comfyui invokeai diffusers kohya mflux migrate",
        "records": "record metadata exif png reproduce sidecar",
        "seeds": "seed determinism deterministic batch-size noise",
        "schedulers": "sampler scheduler euler ddim dpm++ karras",
        "latents": "latent x0 xt save-latents",
        "attention": "heatmap heat-map trace cross-attention",
        "explain": "diffusion training",
        "gallery": "html ratings scores",
        "scripting": "script json jsonl exit-code jq pipe stdin warm parallel bash automation",
        "clusters": "cluster ray slurm kubernetes k8s shard worker-processes workers multi-gpu"
        " torchrun",
        "python": "notebook jupyter api library colab",
        "performance": "speed slow fast benchmark draft bfloat16 channels-last goals",
        "faq": "oom memory out-of-memory black offline troubleshooting problem",
        "glossary": "term definition psnr sigma timestep unet ssim",
    }.items()
    for name in names.split()
}
"""Other words for the topics. A command of the same name comes first."""

_COMMENT = re.compile(r"^<!--.*?-->\n(\n(?=\n|<!--))?", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Match:
    """A line of the manual that a search found."""

    topic: str
    line: int
    text: str


def read_topic(topic: str) -> str:
    """Return the text of a page, without the HTML comments that mark its generated parts."""
    return _COMMENT.sub("", (FOLDER / f"{topic}.md").read_text("utf-8"))


def topic_summary(topic: str) -> str:
    """Return the paragraph below the title of a page, in one line."""
    return " ".join(read_topic(topic).split("\n\n")[1].split())


def search_manual(words: str, topics: tuple[str, ...] = TOPICS) -> Iterator[Match]:
    """Yield the lines that contain all of the words, in upper or lower case."""
    wanted = words.lower().split()
    for topic in topics:
        for number, line in enumerate(read_topic(topic).splitlines(), 1):
            if all(word in line.lower() for word in wanted):
                yield Match(topic, number, line.strip())


def example_files() -> Mapping[str, bytes]:
    """Return the example prompt files by their path, such as `wildcards/color.txt`."""
    paths = sorted(path for path in EXAMPLES.rglob("*") if path.is_file())
    return {path.relative_to(EXAMPLES).as_posix(): path.read_bytes() for path in paths}
