"""LoRAs of a request, and what they change of the model's defaults."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sdcli.checkpoints.adapters.few_steps import FewSteps
from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER, read_defaults
from sdcli.planning.request_loras import RequestLoras


def test_changed_defaults_keep_the_folder_of_their_model() -> None:
    loras = RequestLoras(few_steps=FewSteps(name="LCM", scheduler="LCM", num_inference_steps=4))
    defaults = read_defaults(EMBEDDED_FOLDER)
    other = replace(defaults, folder=Path("other"))
    first, second = loras.change(defaults), loras.change(other)
    assert (first.folder, second.folder) == (defaults.folder, Path("other"))
    assert (first.scheduler, first.num_inference_steps) == ("LCM", 4)
    assert loras.change(defaults) is first
