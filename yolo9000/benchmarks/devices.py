"""What more devices cost: python -m yolo9000.benchmarks.devices --devices=1,2,8

Compiles the detector's training step for so many devices, virtual ones on a
CPU, and reads off what it would do on each: collectives, bytes, memory.
Computes nothing and times nothing; the times are predictions from published
rates.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from experiments import base
from yolo9000 import command_line
from yolo9000.benchmarks import speed
from yolo9000.data.batches import empty_batch
from yolo9000.tables import cost
from yolo9000.tables.accelerators import ACCELERATORS, REACHED
from yolo9000.training import build, compilation, loop
from yolo9000.training import devices as parallel
from yolo9000.types import Task

COLLECTIVES = (
  *("all-reduce", "all-gather", "reduce-scatter"),
  *("all-to-all", "collective-permute"),
)
# %name = type all-reduce(..), where the type is f32[4]{0} or a tuple of such.
LINE = re.compile(
  r"^\s*(?:ROOT )?%?[\w.-]+ = (.*?) "
  rf"({'|'.join(COLLECTIVES)})(?:-start)?\(",
  re.MULTILINE,
)
ARRAY = re.compile(r"\b([a-z]+)(\d+)\w*\[([\d,]*)\]")
NOTE = (
  f"Times are predicted: {100 * REACHED:.0f} % of the published bfloat16 rate "
  f"is assumed to be reached, and links are used in full, after computing."
)


class Program(NamedTuple):
  """What a compiled step does on each device.

  Attributes:
    collectives: how many communications it has; those of a loop once.
    sent: bytes of their results.
    memory: the most bytes that it needs at a time.
  """

  collectives: int
  sent: int
  memory: int


def collectives(text: str) -> list[tuple[str, int]]:
  """Kind and bytes of each collective in the text of a compiled program.

  As the CPU's compiler writes it; a `-start` of others may list its operands
  beside its results, and would count double.
  """
  return [
    (
      kind,
      sum(
        int(bits) // 8 * int(np.prod([int(n) for n in shape.split(",") if n]))
        for _, bits, shape in ARRAY.findall(types)
      ),
    )
    for types, kind in LINE.findall(text)
  ]


def compile_step(
  task: Task, *, size: int, batch_size: int, devices: int, subdivisions: int
) -> Any:
  """The training step on the first devices, batch_size pictures on each."""
  tx = optax.sgd(1e-4, momentum=0.9)
  mesh = Mesh(np.array(jax.devices()[:devices]), (parallel.AXIS,))
  local_step = partial(
    loop.train_step,
    task=task,
    tx=tx,
    average=0.0,
    subdivisions=subdivisions,
    seed=0,
  )
  step, place = parallel.make_step(local_step, spmd="shard_map", mesh=mesh)

  def init() -> loop.State:
    variables = task.init(jax.random.key(0), (size, size))
    opt_state = tx.init(variables["params"])
    return loop.State(jnp.zeros((), jnp.int32), variables, opt_state, ())

  like = parallel.like_replicated(jax.eval_shape(init), mesh)
  batch = empty_batch(batch_size * devices, size=size, max_objects=30)
  compiled: Any = step
  return compiled.lower(like, place(batch)).compile()


def measure(compiled: Any) -> Program:
  """See `Program`."""
  found = collectives(compiled.as_text())
  sent = sum(count for _, count in found)
  return Program(len(found), sent, compilation.most_bytes(compiled))


def predict(
  program: Program, *, operations: float, devices: int
) -> dict[str, tuple[float, float]]:
  """Seconds of computing and of communicating, by accelerator.

  Args:
    program: of so many devices.
    operations: of a step on each of them.
    devices: how many there are.
  """
  return {
    name: (
      operations / (1e12 * one.tflops * REACHED),
      one.all_reduce_seconds(program.sent, devices),
    )
    for name, one in ACCELERATORS.items()
  }


def main(words: Sequence[str] | None = None) -> None:
  """Prints a line for each number of devices and each accelerator."""
  parser = command_line.parser("yolo9000.benchmarks.devices", __doc__)
  parser.add_argument("--devices", default="1,2,4,8")
  parser.add_argument("--width", type=float, default=1.0)
  parser.add_argument("--size", type=int, default=416)
  parser.add_argument("--batch_size", type=int, default=8, help="of a device")
  parser.add_argument("--subdivisions", type=int, default=1)
  parser.add_argument("--dtype", default="bfloat16")
  parser.add_argument(
    "--norm_axis", default="", help="data: batch norm across devices"
  )
  args = parser.parse_args(words)
  counts = [int(word) for word in args.devices.split(",")]
  jax.config.update("jax_num_cpu_devices", max(counts))
  if max(counts) > len(jax.devices()):
    parser.error(f"--devices: there are {len(jax.devices())}")
  config = speed.full_size(
    base.detector(),
    width=args.width,
    size=args.size,
    batch_size=args.batch_size,
    dtype=args.dtype,
  )
  config.task.norm.axis = args.norm_axis
  task, each = build.make_task(config), cost.of_picture(config).operations
  print(
    f"the detector of experiments/base.py, width {args.width:g}, "
    f"{args.size}x{args.size}, {args.batch_size} pictures a device in "
    f"{args.subdivisions} parts, {args.dtype}, jax {jax.__version__}, "
    f"{jax.devices()[0].device_kind}"
  )
  for devices in counts:
    program = measure(
      compile_step(
        task,
        size=args.size,
        batch_size=args.batch_size,
        devices=devices,
        subdivisions=args.subdivisions,
      )
    )
    print(
      f"{devices} devices: {program.collectives} collectives, "
      f"{program.sent} bytes, memory of a device {program.memory} bytes"
    )
    operations = each * args.batch_size
    predicted = predict(program, operations=operations, devices=devices)
    for name, (computing, sending) in predicted.items():
      rate = devices * args.batch_size / (computing + sending)
      print(
        f"  {name:8} {1000 * computing:8.2f} ms computing "
        f"{1000 * sending:8.2f} ms sending {rate:10.0f} images/s"
      )
  print(NOTE)


if __name__ == "__main__":
  main()
