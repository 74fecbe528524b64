"""A scheduler that was constructed before is as new: equal to that of Diffusers, and not shared."""

from __future__ import annotations

import diffusers
import pytest
import torch

from sdcli.engine.schedulers.construct import construct, pickle_settings

CONFIG = {"beta_start": 0.00085, "beta_end": 0.012, "num_train_timesteps": 100, "unknown": 1}
CLASSES = ("KDPM2DiscreteScheduler", "DPMSolverMultistepScheduler", "DDIMScheduler")


@pytest.mark.parametrize("name", CLASSES)
def test_the_second_is_that_of_diffusers_whatever_became_of_the_first(name: str) -> None:
    cls = getattr(diffusers, name)
    settings = pickle_settings(CONFIG, {"prediction_type": "v_prediction"})
    first = construct(cls, settings)
    first.set_timesteps(7)
    first.betas.zero_()
    first.register_to_config(prediction_type="epsilon")
    second, plain = (
        construct(cls, settings),
        cls.from_config(CONFIG, prediction_type="v_prediction"),
    )
    assert dict(second.config) == dict(plain.config)
    assert vars(second).keys() == vars(plain).keys()
    for scheduler in (second, plain):
        scheduler.set_timesteps(5)
    for key, value in vars(plain).items():
        if isinstance(value, torch.Tensor):
            exactly = {"rtol": 0, "atol": 0, "equal_nan": True}
            torch.testing.assert_close(getattr(second, key), value, **exactly)


def test_other_options_are_another_scheduler() -> None:
    one, two = (
        construct(diffusers.DDIMScheduler, pickle_settings(CONFIG, {"beta_end": end}))
        for end in (0.012, 0.02)
    )
    assert one.config.beta_end != two.config.beta_end
    assert not torch.equal(one.betas, two.betas)
