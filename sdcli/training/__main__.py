"""Train the stages of the embedded model in order; an interrupted run resumes where it stopped."""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

STAGES = (
    "tokenizer",
    "vae",
    "text",
    "latents",
    "diffusion",
    "vae_decoder",
    "vae_tiny",
    "judge",
    "export",
    "flag_lora",
    "controlnet_layout",
    "controlnet_edges",
    "fast_lora",
    "holiday_embedding",
)
SECONDS = {
    "vae": 900.0,
    "text": 240.0,
    "diffusion": 6000.0,
    "vae_decoder": 420.0,
    "vae_tiny": 240.0,
    "judge": 480.0,
    "controlnet_layout": 1800.0,
    "controlnet_edges": 2600.0,
}
"""Budget of each stage on two cores. A complete training takes 3 h 45 min."""


# Each stage imports torch and Diffusers by itself, so that --help does not wait for them.
def _train_tokenizer(folder: Path, seconds: float) -> None:
    from sdcli.training.tokenizer import train_tokenizer

    if not (folder / "tokenizer" / "merges.txt").exists():
        train_tokenizer(folder / "tokenizer", seed=3)


def _train_vae(folder: Path, seconds: float) -> None:
    from sdcli.training.autoencoder import KlStage
    from sdcli.training.loop import train

    train("vae", KlStage, folder, seconds=seconds, seed=1)


def _train_text(folder: Path, seconds: float) -> None:
    from sdcli.training.loop import train
    from sdcli.training.text_encoder import TextStage

    train("text", TextStage, folder, seconds=seconds, seed=2)


def _encode_latents(folder: Path, seconds: float) -> None:
    from sdcli.training.diffusion import encode_scenes

    encode_scenes(folder)


def _train_diffusion(folder: Path, seconds: float) -> None:
    from sdcli.training.diffusion import DiffusionStage
    from sdcli.training.loop import train

    train("diffusion", DiffusionStage, folder, seconds=seconds, seed=4)


def _train_vae_decoder(folder: Path, seconds: float) -> None:
    from sdcli.training.decoder_finetune import DecoderStage
    from sdcli.training.loop import train

    train("vae_decoder", DecoderStage, folder, seconds=seconds, seed=8)


def _train_judge(folder: Path, seconds: float) -> None:
    from sdcli.training.judge import JudgeStage
    from sdcli.training.loop import train

    train("judge", JudgeStage, folder, seconds=seconds, seed=9)


def _train_vae_tiny(folder: Path, seconds: float) -> None:
    from sdcli.training.autoencoder import TinyStage
    from sdcli.training.loop import train

    train("vae_tiny", TinyStage, folder, seconds=seconds, seed=6)


def _export_model(folder: Path, seconds: float) -> None:
    from sdcli.training.export import export
    from sdcli.training.export_judge import export_judge

    export(folder, folder / "model")
    export_judge(folder, folder / "judge")


def _train_flag_lora(folder: Path, seconds: float) -> None:
    from sdcli.training.flag_lora import train_flag_lora

    train_flag_lora(folder, folder / "model")


def _train_controlnet_layout(folder: Path, seconds: float) -> None:
    from sdcli.training.controlnet import ControlStage, train_controlnet

    train_controlnet(ControlStage, folder, seconds)


def _train_controlnet_edges(folder: Path, seconds: float) -> None:
    from sdcli.training.controlnet import EdgesStage, train_controlnet

    train_controlnet(EdgesStage, folder, seconds)


def _train_fast_lora(folder: Path, seconds: float) -> None:
    from sdcli.training.fast_lora import train_fast_lora

    train_fast_lora(folder, folder / "model")


def _train_holiday_embedding(folder: Path, seconds: float) -> None:
    from sdcli.training.holiday_embedding import train_holiday_embedding

    train_holiday_embedding(folder, folder / "model")


_RUNNERS: dict[str, Callable[[Path, float], None]] = {
    "tokenizer": _train_tokenizer,
    "vae": _train_vae,
    "text": _train_text,
    "latents": _encode_latents,
    "diffusion": _train_diffusion,
    "vae_decoder": _train_vae_decoder,
    "vae_tiny": _train_vae_tiny,
    "judge": _train_judge,
    "export": _export_model,
    "flag_lora": _train_flag_lora,
    "controlnet_layout": _train_controlnet_layout,
    "controlnet_edges": _train_controlnet_edges,
    "fast_lora": _train_fast_lora,
    "holiday_embedding": _train_holiday_embedding,
}


def main() -> None:
    """Parse the command line and train."""
    parser = _build_parser()
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    unknown = sorted(set(arguments.stages) - set(STAGES))
    if unknown:
        parser.error(f"unknown stage: {', '.join(unknown)}")
    for stage in arguments.stages or STAGES:
        started = time.monotonic()
        _RUNNERS[stage](arguments.folder, SECONDS.get(stage, 0.0) * arguments.scale)
        print(f"{stage}: {time.monotonic() - started:.0f} s", flush=True)


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sdcli.training", description=__doc__)
    parser.add_argument(
        "stages",
        nargs="*",
        metavar="STAGE",
        help=f"stages to train: {', '.join(STAGES)} (default: all)",
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path(".training"),
        help="folder for checkpoints and results (default: .training)",
    )
    parser.add_argument(
        "--scale",
        type=float,
        default=1.0,
        help="factor for all budgets; 0.01 tests the code in minutes",
    )
    return parser


if __name__ == "__main__":
    main()
