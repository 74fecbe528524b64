"""What `sdcli doctor` says of the memory of a GPU."""

from __future__ import annotations

from sdcli.commands.doctor import _chosen_offload, _offload_facts
from sdcli.planning.offload import GIBIBYTE


def test_the_rungs_of_the_usual_models_are_named() -> None:
    chosen = _chosen_offload(7 * GIBIBYTE)
    assert chosen["vram_free"] == 7 * GIBIBYTE
    assert _offload_facts(chosen) == {
        "offload": "none for SD 1.5, 512x512; model for SDXL, 1024x1024 (of 7.0 GiB that are free)"
    }


def test_without_a_gpu_there_is_nothing_to_say() -> None:
    assert _chosen_offload(None) == {}
    assert _offload_facts({}) == {}
