"""Choose how the text of a prompt is encoded by its syntax."""

from __future__ import annotations

from typing import Final

from sdcli.engine.text.compel import encode_compel
from sdcli.engine.text.weighted import encode_weighted
from sdcli.fields.prompt import A1111, COMPEL

ENCODERS: Final = {A1111: encode_weighted, COMPEL: encode_compel}
