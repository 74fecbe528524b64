"""Define how the timed scripts tell their peak memory, and the script that runs sdcli so."""

from __future__ import annotations

from typing import Final

PEAK_GB: Final = """
def peak_gb():
    try:
        with open("/proc/self/status") as status:
            [line] = [line for line in status if line.startswith("VmHWM:")]
        return int(line.split()[1]) * 1024 / 1e9
    except (OSError, ValueError):
        import resource, sys

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9

"""
"""The beginning of a script.

On Linux, ru_maxrss is not less than the memory of the process that started the script.
"""

USAGE: Final = (
    PEAK_GB
    + """
import json, sys, time

def usage(device):
    if not device.startswith("cuda"):
        return {"peak_gb": peak_gb(), "device_name": device}
    import torch

    reserved = torch.cuda.max_memory_reserved(device) / 1e9
    return {"peak_gb": reserved, "device_name": torch.cuda.get_device_name(device)}

"""
)
"""The beginning of a script: `usage` gives the peak of a device, and the name of the card."""

RUN_SDCLI: Final = (
    USAGE
    + """
from sdcli.cli import main
code = main(sys.argv[2:])
if code == 0:
    print(json.dumps(usage(sys.argv[1])))
sys.exit(code)
"""
)
"""A script that runs sdcli on a device, and prints the peak memory in a line after its document."""
