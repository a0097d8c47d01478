"""What accelerators are said to do, to estimate a run before it is paid for."""

from __future__ import annotations

from typing import NamedTuple


class Accelerator(NamedTuple):
  """A kind of device; rates as their makers publish them.

  Attributes:
    device_kind: how JAX's name of it begins.
    tflops: dense bfloat16 rate, 10^12 operations per second.
    memory_gb: 10^9 bytes.
    link: 10^9 bytes per second that a device sends to its neighbours.
    linked: how many devices are joined so.
    network: as link, among more devices than that.
  """

  device_kind: str
  tflops: float
  memory_gb: float
  link: float
  linked: int
  network: float

  def all_reduce_seconds(self, count: int, devices: int) -> float:
    """For so many bytes on each of the devices, in a ring, at best."""
    rate = self.link if devices <= self.linked else self.network
    return 2 * (devices - 1) / devices * count / (1e9 * rate)


# Cloud TPU: docs.cloud.google.com/tpu/docs, v5e and v6e; the links are half of
# the bidirectional 400 and 800 GB/s, a host's two 100 Gb/s NICs serve 8 chips.
# (v6e's NICs are not published there; v5e's are taken.) NVIDIA: data sheets of
# the SXM boards; NVLink's 900 GB/s go both ways, a 400 Gb/s NIC for each GPU.
ACCELERATORS = {
  "TPU v5e": Accelerator("TPU v5 lite", 197, 16, 200, 256, 3),
  "TPU v6e": Accelerator("TPU v6", 918, 32, 400, 256, 3),
  "H100": Accelerator("NVIDIA H100", 989, 80, 450, 8, 50),
  "H200": Accelerator("NVIDIA H200", 989, 141, 450, 8, 50),
}
# Which part of the rate a training step is taken to reach: an assumption, there
# was no accelerator to measure.
REACHED = 0.4
