"""Table of words that other tools use for options and commands, with sdcli's own word for each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple


@dataclass(frozen=True, kw_only=True)
class Synonym:
    """A word of other tools.

    `word` is spelled as they spell it: an option ("--cfg-scale", "-W"), or a command ("txt2img").
    `ours` is sdcli's option or command, None if it has none. `note` is a sentence to add, or what
    to do instead.
    """

    word: str
    tools: tuple[str, ...]
    ours: str | None = None
    note: str | None = None

    @property
    def is_option(self) -> bool:
        """Whether the word is an option; otherwise it is a command."""
        return self.word.startswith("-")


class _Row(NamedTuple):
    words: str
    tools: str
    ours: str | None = None
    note: str | None = None

    def synonyms(self) -> Iterator[Synonym]:
        tools = tuple(self.tools.split(", "))
        for word in self.words.split():
            yield Synonym(word=word, tools=tools, ours=self.ours, note=self.note)


_A1111, _COMFYUI, _DIFFUSERS, _KOHYA = "A1111", "ComfyUI", "Diffusers", "kohya"
_INVOKEAI, _SDCPP, _MFLUX = "InvokeAI", "stable-diffusion.cpp", "mflux"
_COMPVIS = "CompVis scripts"

_SIZE_NOTE: Final = "width and height are one option, e.g. --size 512x768"
_IN_QUOTES: Final = 'the prompt is an argument without an option: sdcli generate "a cat"'
_LEAVE_OUT: Final = "leave it out"
_LORA_WEIGHT: Final = "the weight follows the file: --lora style.safetensors:0.8"
_IP_SCALE: Final = "it follows the image: --ip-image cat.png:0.6"
_CONTROL_SCALE: Final = "it follows the image: --control-image edges.png:0.8"
_CONTROL_PART: Final = "it follows the scale: --control-image edges.png:1:0:0.5"
_NO_UPSCALE: Final = "upscaling alone is not supported: --hires 2x enlarges and redraws an image"
_NO_VARIATION: Final = "variation seeds are not supported: leave it out"
_AUTOMATIC: Final = "memory is managed automatically: leave it out, or use --vae-tiling on"
_NO_SERVER: Final = "there is no server: sdcli batch - reads prompts from stdin as they arrive"

_OPTIONS: Final = (
    _Row("--prompt -p", f"{_DIFFUSERS}, {_KOHYA}, {_SDCPP}, {_MFLUX}", None, _IN_QUOTES),
    _Row("--negative-prompt --neg --uc", f"{_A1111}, {_DIFFUSERS}, {_SDCPP}", "--negative"),
    _Row("--cfg-scale --cfg --scale -C", f"{_A1111}, {_SDCPP}, {_COMPVIS}", "--guidance"),
    _Row("--guidance-scale", f"{_DIFFUSERS}, {_KOHYA}", "--guidance"),
    _Row("--l", _KOHYA, "--guidance"),
    _Row("--num-inference-steps --inference-steps", _DIFFUSERS, "--steps"),
    _Row("--ddim-steps --sampling-steps --step", f"{_COMPVIS}, {_A1111}", "--steps"),
    _Row("--sampler --sampler-name --sampling-method --samplers", f"{_A1111}, {_SDCPP}",
         "--scheduler"),
    _Row("--sampler-index", _A1111, "--scheduler", "give the sampler's name, e.g. 'Euler a'"),
    _Row("--plms --ddim --dpm-solver", _COMPVIS, "--scheduler", "e.g. --scheduler DDIM"),
    _Row("--karras --schedule-type", f"{_A1111}, {_SDCPP}", "--scheduler",
         "the schedule follows the name: --scheduler 'DPM++ 2M Karras'"),
    _Row("--ss", _KOHYA, "--scheduler"),
    _Row("--width --height -W -H --W --H --resolution --res", f"{_A1111}, {_DIFFUSERS}, {_MFLUX}",
         "--size", _SIZE_NOTE),
    _Row("--n-iter --batch-count -b --num-images --n-samples -N --num", f"{_A1111}, {_INVOKEAI}",
         "--count"),
    _Row("--num-images-per-prompt --images-per-prompt --n", f"{_DIFFUSERS}, {_KOHYA}", "--count"),
    _Row("--seeds -S", f"{_INVOKEAI}, {_MFLUX}", "--seed", "a list or a range is a sweep: 1..4"),
    _Row("--auto-seeds", _MFLUX, "--count", "leave --seed out for random seeds"),
    _Row("--ckpt --checkpoint --ckpt-path --model-path --model-id --sd-model --pretrained",
         f"{_A1111}, {_KOHYA}, {_SDCPP}", "--model"),
    _Row("--pretrained-model-name-or-path", f"{_DIFFUSERS}, {_KOHYA}", "--model"),
    _Row("--vae-path --sd-vae", f"{_A1111}, {_KOHYA}, {_SDCPP}", "--vae"),
    _Row("--output --outdir --output-dir --output-path --outpath --save-to -O",
         f"{_COMPVIS}, {_DIFFUSERS}, {_SDCPP}, {_MFLUX}", "--out"),
    _Row("--outpath-samples --outpath-grids", _A1111, "--out"),
    _Row("--gpu --cuda --device-id --gpu-id", f"{_A1111}, {_COMFYUI}", "--device",
         "e.g. --device cuda or --device cuda:1"),
    _Row("--cpu --use-cpu --mps", f"{_A1111}, {_COMFYUI}", "--device", "e.g. --device cpu"),
    _Row("--fp16 --half --force-fp16", f"{_COMFYUI}, {_DIFFUSERS}", "--dtype", "--dtype float16"),
    _Row("--bf16", f"{_COMFYUI}, {_KOHYA}", "--dtype", "--dtype bfloat16"),
    _Row("--fp32 --no-half --full-precision --force-fp32", f"{_A1111}, {_COMFYUI}", "--dtype",
         "--dtype float32"),
    _Row("--precision --torch-dtype --type --mixed-precision", f"{_DIFFUSERS}, {_SDCPP}",
         "--dtype"),
    _Row("--no-half-vae --fp32-vae", f"{_A1111}, {_COMFYUI}", None,
         "a VAE that overflows in float16 is decoded again in float32 without an option: "
         "leave it out"),
    _Row("--clip-skip --clipskip --clip-stop-at-last-layers", f"{_A1111}, {_KOHYA}, {_SDCPP}",
         "--clip-skip", "sdcli counts the layers skipped: A1111's Clip skip 2 is --clip-skip 1"),
    _Row("--tiled-vae --vae-on-cpu --tile-vae", f"{_A1111}, {_SDCPP}, {_MFLUX}", "--vae-tiling",
         "e.g. --vae-tiling on"),
    _Row("--medvram --cpu-offload --enable-model-cpu-offload", f"{_A1111}, {_DIFFUSERS}",
         "--offload", "--offload model; by default it is chosen by the free memory"),
    _Row("--lowvram --novram --enable-sequential-cpu-offload",
         f"{_A1111}, {_COMFYUI}, {_DIFFUSERS}", "--offload",
         "--offload group, or sequential; by default it is chosen by the free memory"),
    _Row("--max-vram --reserve-vram", f"{_COMFYUI}, {_SDCPP}", "--vram", "e.g. --vram 6"),
    _Row("--xformers --opt-sdp-attention --low-ram", f"{_A1111}, {_COMFYUI}", None, _AUTOMATIC),
    _Row("--from-file --prompt-file --prompts-file", f"{_INVOKEAI}, {_KOHYA}, {_MFLUX}", "batch",
         "sdcli batch prompts.txt"),
    _Row("--config --config-file", f"{_SDCPP}, {_COMPVIS}", None,
         "option defaults are read from ./sdcli.toml"),
    _Row("--local-files-only --no-download", f"{_DIFFUSERS}, {_KOHYA}", "--offline"),
    _Row("--overwrite", f"{_COMFYUI}, {_MFLUX}", "--force"),
    _Row("--silent --no-progress", f"{_A1111}, {_SDCPP}", "--quiet"),
    _Row("--debug", f"{_A1111}, {_DIFFUSERS}", "--verbose"),
    _Row("--guidance-rescale-phi --cfg-rescale --rescale-cfg", f"{_A1111}, {_COMFYUI}",
         "--guidance-rescale"),
    _Row("--loras --lora-paths --network-weights", f"{_KOHYA}, {_MFLUX}", "--lora"),
    _Row("--lora-scales --lora-weights --network-mul --am", f"{_KOHYA}, {_MFLUX}", "--lora",
         _LORA_WEIGHT),
    _Row("--lora-model-dir --lora-path", f"{_SDCPP}, {_A1111}", "--lora-dir"),
    _Row("--embeddings --textual-inversion --textual-inversion-embeddings --ti",
         f"{_KOHYA}, {_DIFFUSERS}", "--embedding", "FILE:WORD gives the word for prompts"),
    _Row("--embeddings-dir --embd-dir", f"{_A1111}, {_SDCPP}", "--embedding-dir"),
    _Row("--pag-scale --pag-scales", _DIFFUSERS, "--pag"),
    _Row("--deepcache --deep-cache", _DIFFUSERS, "--feature-cache", "e.g. --feature-cache 3"),
    _Row("--s-min-uncond --skip-uncond", _A1111, "--guidance-every",
         "e.g. --guidance-every 2; A1111 leaves guidance out below a noise level"),
    _Row("--cache-mode --easycache", _SDCPP, "--draft",
         "or --feature-cache and --guidance-every, which it chooses from"),
    _Row("--init-image --init-img --image-path -I --i",
         f"{_INVOKEAI}, {_SDCPP}, {_MFLUX}", "--image"),
    _Row("--denoising-strength --denoise --image-strength", f"{_A1111}, {_COMFYUI}, {_MFLUX}",
         "--strength"),
    _Row("--mask-image", _DIFFUSERS, "--mask"),
    _Row("--padding-mask-crop", _DIFFUSERS, "--inpaint-padding", "add --inpaint-area mask"),
    _Row("--inpainting-fill --masked-content", _A1111, None,
         "the masked area begins as it is: use --strength 1 to draw it anew"),
    _Row("--inpaint-full-res", _A1111, "--inpaint-area", "--inpaint-area mask"),
    _Row("--inpaint-full-res-padding", _A1111, "--inpaint-padding"),
    _Row("--resize-mode", _A1111, "--resize"),
    _Row("--t2i-adapter --t2i-adapters", _DIFFUSERS, "--controlnet",
         "it takes T2I-Adapters, too: add --control-image FILE"),
    _Row("--control-net --controlnet-model --control-net-models --cn",
         f"{_DIFFUSERS}, {_SDCPP}, {_KOHYA}", "--controlnet", "add --control-image FILE"),
    _Row("--control-net-image --controlnet-image --controlnet-image-path --guide-image-path",
         f"{_DIFFUSERS}, {_KOHYA}, {_MFLUX}", "--control-image"),
    _Row("--control-strength --control-scale --controlnet-conditioning-scale "
         "--controlnet-strength --control-net-multipliers",
         f"{_DIFFUSERS}, {_SDCPP}, {_KOHYA}, {_MFLUX}", "--control-image", _CONTROL_SCALE),
    _Row("--control-guidance-start --control-guidance-end --control-net-ratios",
         f"{_DIFFUSERS}, {_KOHYA}", "--control-image", _CONTROL_PART),
    _Row("--canny --control-net-preps --control-type --preprocessor",
         f"{_SDCPP}, {_KOHYA}, {_A1111}", "--control-preprocess", "--control-preprocess canny"),
    _Row("--ip-adapter-image --image-prompt", _DIFFUSERS, "--ip-image"),
    _Row("--ip-adapter-scale", _DIFFUSERS, "--ip-image", _IP_SCALE),
    _Row("--ip-adapter-image-encoder --image-encoder", _DIFFUSERS, "--ip-encoder"),
    _Row("--hires-fix --enable-hr --hr-scale --highres-fix-scale --hires-scale",
         f"{_A1111}, {_SDCPP}, {_KOHYA}", "--hires", "--hires 2x"),
    _Row("--upscale --upscaler", f"{_A1111}, {_INVOKEAI}, {_SDCPP}", None, _NO_UPSCALE),
    _Row("--tiling --seamless", f"{_A1111}, {_INVOKEAI}", None,
         "seamless tiling is not supported: leave it out"),
    _Row("--restore-faces --face-restore --face-restoration --codeformer --gfpgan", _A1111, None,
         "sdcli does not restore faces: leave it out"),
    _Row("--styles --style", _A1111, None, "write the style's words into the prompt"),
    _Row("--subseed --subseed-strength --seed-resize-from-h --seed-resize-from-w "
         "--variation-amount", f"{_A1111}, {_INVOKEAI}", None, _NO_VARIATION),
    _Row("--do-not-save-grid --do-not-save-samples --prompt-for-display --skip-grid",
         f"{_A1111}, {_COMPVIS}", None, _LEAVE_OUT),
    _Row("--ctr --fs --rcfg", _KOHYA, None, _LEAVE_OUT),
    _Row("--g", _KOHYA, None, "guidance of Stable Diffusion is --l"),
    _Row("--disable-safety-checker --no-safety-checker --safety-checker --nsfw", _DIFFUSERS, None,
         "there is no safety checker: leave it out"),
    _Row("--api --listen --port --server", f"{_A1111}, {_COMFYUI}", None, _NO_SERVER),
)  # fmt: skip

_TRAINING: Final = tuple(
    _Row(words, tools, None, f"sdcli train-lora calls it {ours}")
    for words, tools, ours in (
        ("--network-dim", _KOHYA, "--rank"),
        ("--network-alpha --lora-alpha", f"{_KOHYA}, {_DIFFUSERS}", "--alpha"),
        ("--learning-rate --unet-lr", f"{_KOHYA}, {_DIFFUSERS}", "--lr"),
        ("--max-train-steps", f"{_KOHYA}, {_DIFFUSERS}", "--steps"),
        ("--train-batch-size", f"{_KOHYA}, {_DIFFUSERS}", "--batch-size"),
        ("--save-every-n-steps --checkpointing-steps", f"{_KOHYA}, {_DIFFUSERS}", "--save-every"),
        ("--instance-prompt", _DIFFUSERS, "--caption"),
        ("--validation-prompt", _DIFFUSERS, "--sample-prompt"),
        ("--train-data-dir --instance-data-dir", f"{_KOHYA}, {_DIFFUSERS}", "FOLDER"),
    )
)
"""Options of a command that is not about images: the others are those of requests."""

_COMMANDS: Final = (
    _Row("txt2img text2img t2i text-to-image imagine create draw gen image dream run",
         f"{_A1111}, {_INVOKEAI}, {_DIFFUSERS}", "generate"),
    _Row("txt2imgs from-file prompts bulk", _A1111, "batch"),
    _Row("img2img i2i image-to-image inpaint", f"{_A1111}, {_DIFFUSERS}", "generate",
         "add --image FILE, and --mask FILE to inpaint"),
    _Row("upscale extras hires", f"{_A1111}, {_SDCPP}", None, _NO_UPSCALE),
    _Row("samplers sampler scheduler", _A1111, "schedulers list"),
    _Row("vaes sd-vae", _A1111, "vae list"),
    _Row("model checkpoints sdmodels ls list cache", "A1111, hf, ollamadiffuser", "models list"),
    _Row("pull download", "hf, ollamadiffuser", "models pull"),
    _Row("rm prune", "hf, ollamadiffuser", "models rm"),
    _Row("pnginfo png-info info metadata show", f"{_A1111}, {_SDCPP}, {_MFLUX}", "inspect"),
    _Row("reproduce redo fetch", _INVOKEAI, "replay"),
    _Row("attn daam heatmap attention-map attention-maps", "daam", "attention"),
    _Row("latent", _COMFYUI, "latents"),
    _Row("encode decode", _DIFFUSERS, "vae encode and vae decode"),
    _Row("benchmark", _DIFFUSERS, "bench"),
    _Row("env system-info check", _DIFFUSERS, "doctor"),
    _Row("version", _DIFFUSERS, None, "sdcli --version prints the version"),
    _Row("serve server api webui gui", f"{_A1111}, {_COMFYUI}", None, _NO_SERVER),
    _Row("lora loras", f"{_SDCPP}, {_MFLUX}", "generate", "add --lora FILE"),
    _Row("train finetune train-network dreambooth", f"{_KOHYA}, {_DIFFUSERS}", "train-lora"),
    _Row("config settings", _INVOKEAI, "doctor", "option defaults are read from ./sdcli.toml"),
    _Row("xyz grid plot", _A1111, "generate --grid", "e.g. --steps 5,10 -s ddim,euler --grid "
         "steps,scheduler"),
)  # fmt: skip

SYNONYMS: Final = tuple(s for row in (*_OPTIONS, *_TRAINING, *_COMMANDS) for s in row.synonyms())
"""Every word of the table, the options first."""


def option_key(word: str) -> str:
    """Return the spelling by which an option is looked up; a short option keeps its case."""
    if word.startswith("-") and not word.startswith("--"):
        return word
    return word.removeprefix("--").strip().lower().replace("-", "_").replace(" ", "_")


_BY_OPTION: Final = {option_key(s.word): s for s in SYNONYMS if s.is_option}
_BY_LETTERS: Final = {key.replace("_", ""): s for key, s in _BY_OPTION.items() if len(key) > 4}
"""By the letters alone: cfgscale. Short names would be mistaken for others."""
_BY_COMMAND: Final = {s.word: s for s in SYNONYMS if not s.is_option}


def find_option(word: str) -> Synonym | None:
    """Return the row of an option or a field: "--cfg-scale", "cfgscale" or "CFG scale"."""
    key = option_key(word)
    return _BY_OPTION.get(key) or _BY_LETTERS.get(key.replace("_", ""))


def find_command(word: str) -> Synonym | None:
    """Return the row of a command."""
    return _BY_COMMAND.get(word.lower().replace("_", "-"))
