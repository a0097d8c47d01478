"""What accelerators are said to do, to estimate a run before it is paid for."""

from __future__ import annotations

from typing import NamedTuple


class Accelerator(NamedTuple):
  """A kind of device.

  Attributes:
    device_kind: how JAX's name of it begins.
    tflops: published dense bfloat16 rate, 10^12 operations per second.
  """

  device_kind: str
  tflops: float


ACCELERATORS = {
  "TPU v5e": Accelerator("TPU v5 lite", 197),
  "TPU v6e": Accelerator("TPU v6", 918),
  "H100, H200": Accelerator("NVIDIA H", 989),
}
# Which part of the rate a training step is taken to reach: an assumption, there
# was no accelerator to measure.
REACHED = 0.4
