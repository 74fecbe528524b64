"""Collect the fields of requests and jobs that add something to the model, or change it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sdcli.control_fields import CONTROL_FIELDS, ControlJobFields, ControlRequestFields
from sdcli.draft_field import DraftRequestField
from sdcli.embedding_fields import EmbeddingJobFields, EmbeddingRequestFields
from sdcli.feature_cache_fields import FeatureCacheJobField, FeatureCacheRequestField
from sdcli.freeu_fields import FreeuJobField, FreeuRequestField
from sdcli.guidance_fields import GuidanceJobField, GuidanceRequestField
from sdcli.ip_adapter_fields import (
    IP_ADAPTER_FIELDS,
    IpAdapterJobFields,
    IpAdapterRequestFields,
)
from sdcli.lora_fields import LoraJobFields, LoraRequestFields

ADD_ON_OF: Final[Mapping[str, str]] = {
    **dict.fromkeys(CONTROL_FIELDS, "controlnet"),
    **dict.fromkeys(IP_ADAPTER_FIELDS, "ip_adapter"),
}
"""Field -> the field without which it has no effect."""


@dataclass(frozen=True, kw_only=True)
class AddonRequestFields(
    ControlRequestFields,
    IpAdapterRequestFields,
    LoraRequestFields,
    EmbeddingRequestFields,
    FreeuRequestField,
    DraftRequestField,
    FeatureCacheRequestField,
    GuidanceRequestField,
):
    """The fields of a request that add something to the model."""

    def check_addon_fields(self) -> None:
        """Raise UsageError for fields that cannot be read."""
        self.check_lora_fields()
        self.check_control_fields()
        self.check_ip_adapter_fields()
        self.check_embedding_fields()
        self.check_freeu()
        self.check_guidance_schedule()


@dataclass(frozen=True, kw_only=True)
class AddonJobFields(
    ControlJobFields,
    IpAdapterJobFields,
    LoraJobFields,
    EmbeddingJobFields,
    FreeuJobField,
    FeatureCacheJobField,
    GuidanceJobField,
):
    """The fields of a job that add something to the model."""
