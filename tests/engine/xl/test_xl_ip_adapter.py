"""An IP-Adapter in a run that the refiner ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest

from tests.engine.test_ip_adapter_combined import PLAIN, showing, shown_images
from tests.engine.test_ip_adapter_oracle import draw, prompted, write_all
from tests.engine.xl.hand_calls import refine_by_hand
from tests.engine.xl.test_refiner import refined_job

pytestmark = pytest.mark.filterwarnings("ignore:__array:DeprecationWarning")


def test_the_refiner_does_not_see_the_image(
    xl_refined: Any, plain_xl: Any, plain_refiner: Any, base_folder: Path, tmp_path: Path
) -> None:
    write_all(plain_xl.unet, tmp_path)
    job = prompted(refined_job(), xl_refined.spec, tmp_path, PLAIN, "a.png:0.7")
    options = {"force_zeros_for_empty_prompt": plain_xl.config.force_zeros_for_empty_prompt}
    cls = diffusers.StableDiffusionXLPipeline
    base = showing(plain_xl, cls, job, add_watermarker=False, **options)

    class Shown:
        """The base, which is called with the image."""

        def __getattr__(self, name: str) -> Any:
            return getattr(base, name)

        def __setattr__(self, name: str, value: Any) -> None:
            setattr(base, name, value)

        def __call__(self, **arguments: Any) -> Any:
            return base(**arguments, ip_adapter_image=shown_images(job))

    try:
        theirs = refine_by_hand(Shown(), plain_refiner, base_folder, job)
    finally:
        base.unload_ip_adapter()
    assert np.array_equal(draw(xl_refined, job), theirs)
