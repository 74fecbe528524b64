"""Collect the fields of requests and jobs that add something to the model, or change it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sdcli.fields.control import CONTROL_FIELDS, ControlJobFields, ControlRequestFields
from sdcli.fields.draft import DraftRequestField
from sdcli.fields.embedding import EmbeddingJobFields, EmbeddingRequestFields
from sdcli.fields.feature_cache import FeatureCacheJobField, FeatureCacheRequestField
from sdcli.fields.freeu import FreeuJobField, FreeuRequestField
from sdcli.fields.guidance import GuidanceJobField, GuidanceRequestField
from sdcli.fields.ip_adapter import (
    IP_ADAPTER_FIELDS,
    IpAdapterJobFields,
    IpAdapterRequestFields,
)
from sdcli.fields.lora import LoraJobFields, LoraRequestFields

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
