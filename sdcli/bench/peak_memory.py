"""Define the function with which the timed scripts tell their peak memory."""

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
