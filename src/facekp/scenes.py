"""The former name of `facekp.detection_benchmark`."""

from __future__ import annotations

import runpy
import sys

if __name__ == "__main__":
    print("facekp: scenes is now called detection_benchmark", file=sys.stderr)
    runpy.run_module("facekp.detection_benchmark", run_name="__main__", alter_sys=True)
