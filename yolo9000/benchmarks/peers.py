"""The same network here and elsewhere: python -m yolo9000.benchmarks.peers

On the CPU, all with as many threads as there are cores, in rounds that take
turns, after their outputs were compared. --what says what is timed:

  forward  the network, batch norm folded: this package, PyTorch, ONNX Runtime
           on the exporter's graph, OpenCV on our .cfg and .weights
  train    its output's mean square and all gradients: this package, PyTorch
           eager and compiled
  detect   a Detector, from pictures to boxes: by JAX, by ONNX Runtime, and ONNX
           Runtime alone with the same exported file
  retinanet_forward, retinanet_train, ssd_forward, ssd_train,
  faster_rcnn_forward
           torchvision's at full size, which has its own options and size: from
           pictures to logits and codes, of Faster R-CNN those of its regions;
           the loss and an update by SGD

Needs pip install -e '.[bench]'.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import jax
import jax.export
import numpy as np

from experiments import base
from yolo9000 import command_line, detectors
from yolo9000.benchmarks import torchvision, turns
from yolo9000.benchmarks.turns import Job
from yolo9000.darknet.cfg import write_cfg
from yolo9000.darknet.weights import (
  Header,
  fold,
  gpu_deviation,
  write_weights,
)
from yolo9000.detector import Detector
from yolo9000.networks.chain import Chain
from yolo9000.networks.rows import (
  Conv,
  Layer,
  MaxPool,
  Network,
  Reorg,
  Route,
  layer_name,
)
from yolo9000.training import build, compilation
from yolo9000.training.trained import Trained

Forward = Callable[[np.ndarray], Any]  # pictures to the network's output
Step = Callable[[np.ndarray], tuple[float, np.ndarray]]  # a loss, a gradient


def run_table(
  layers: Sequence[Layer], x: Any, operations: dict[type, Callable[..., Any]]
) -> Any:
  """Runs a table with another library's operations (row, index, input)."""
  outputs: list[Any] = []
  for index, row in enumerate(layers):
    if isinstance(row, Route):
      x = [outputs[source] for source in row.sources(index)]
    if type(row) in operations:
      x = operations[type(row)](row, index, x)
    outputs.append(x)
  return x


def ours(layers: Sequence[Layer], variables: Any) -> Forward:
  """This package; its pictures are channels last, so they are turned before."""
  network = Chain(tuple(layers))
  run = jax.jit(partial(network.apply, train=False))
  variables = jax.device_put(variables)
  return lambda x: jax.block_until_ready(run(variables, x))


def torch_operations() -> dict[type, Callable[..., Any]]:
  """What PyTorch does for rows without weights."""
  import torch
  from torch.nn import functional

  def reorg(row: Any, index: int, x: Any) -> Any:
    batch, channels, height, width = x.shape
    x = x.contiguous().view(batch, channels // 4, height, 2, width, 2)
    x = x.permute(0, 3, 5, 1, 2, 4).contiguous()
    return x.view(batch, channels * 4, height // 2, width // 2)

  return {
    MaxPool: lambda row, index, x: functional.max_pool2d(x, 2),
    Reorg: reorg,
    Route: lambda row, index, x: x[0] if len(x) == 1 else torch.cat(x, dim=1),
  }


def pytorch(layers: Sequence[Layer], variables: Any) -> Forward:
  """PyTorch, eager, channels last in memory, which is its fastest here."""
  import torch
  from torch.nn import functional

  last = torch.channels_last
  weights = {
    name: (
      torch.tensor(w["kernel"].transpose(3, 2, 0, 1)).to(memory_format=last),
      torch.tensor(w["bias"]),
    )
    for name, w in variables["params"].items()
  }

  def conv(row, index, x):
    kernel, bias = weights[layer_name(index)]
    x = functional.conv2d(x, kernel, bias, padding=row.pad)
    return functional.leaky_relu_(x, 0.1) if row.activation == "leaky" else x

  operations = {**torch_operations(), Conv: conv}

  def run(x):
    with torch.inference_mode():
      tensor = torch.from_numpy(x).to(memory_format=last)
      return run_table(layers, tensor, operations).numpy()

  return run


def onnx_runtime(layers: Sequence[Layer], variables: Any, size: int) -> Forward:
  """ONNX Runtime on the graph that the exporter writes; channels last."""
  from yolo9000.export import onnx as writer

  network = Chain(tuple(layers))
  shape = jax.export.symbolic_shape(f"b, {size}, {size}, 3")
  model = writer.model_of(
    lambda x: {"raw": network.apply(variables, x, train=False)},
    jax.ShapeDtypeStruct(shape, np.float32),
    ["raw"],
  )
  run = session(model.SerializeToString())
  return lambda x: run.run(None, {"images": x})[0]


def session(model: bytes) -> Any:
  """ONNX Runtime with a file."""
  import onnxruntime

  options = onnxruntime.SessionOptions()
  options.intra_op_num_threads = os.cpu_count() or 1
  return onnxruntime.InferenceSession(model, options)


def opencv(network: Network, variables: Any, folder: Path) -> Forward:
  """OpenCV's own reader of the .cfg and .weights that we write."""
  write_cfg(folder / "net.cfg", network)
  write_weights(folder / "net.weights", network, variables, Header())
  net = cv2.dnn.readNetFromDarknet(
    str(folder / "net.cfg"), str(folder / "net.weights")
  )
  last = f"conv_{len(network.layers) - 2}"

  def run(x):
    cv2.setNumThreads(os.cpu_count() or 1)
    net.setInput(x)
    found = net.forward(last)
    cv2.setNumThreads(0)
    return found

  return run


def our_step(layers: Sequence[Layer], variables: Any) -> Step:
  """The loss and its gradients by JAX."""
  network = Chain(tuple(layers))

  def loss(params: Any, x: Any) -> Any:
    found = {"params": params, "batch_stats": variables["batch_stats"]}
    y, _ = network.apply(found, x, train=True, mutable=["batch_stats"])
    return (y**2).mean()

  last = layer_name(len(layers) - 2)
  step = jax.jit(jax.value_and_grad(loss))
  params = jax.device_put(variables["params"])

  def run(x: np.ndarray) -> tuple[float, np.ndarray]:
    value, grads = jax.block_until_ready(step(params, x))
    return float(value), np.asarray(grads[last]["kernel"])

  return run


def pytorch_step(
  layers: Sequence[Layer], variables: Any, *, compiled: bool
) -> Step:
  """The same by PyTorch, channels last in memory."""
  import torch
  from torch.nn import functional

  def tensor(x: Any) -> Any:
    x = torch.tensor(np.asarray(x))
    last = {"memory_format": torch.channels_last} if x.ndim == 4 else {}
    return x.to(**last).requires_grad_()

  weights = {
    name: {
      key: tensor(x.transpose(3, 2, 0, 1) if x.ndim == 4 else x)
      for key, x in own.items()
    }
    for name, own in variables["params"].items()
  }

  def conv(row: Any, index: int, x: Any) -> Any:
    own = weights[layer_name(index)]
    x = functional.conv2d(x, own["kernel"], own.get("bias"), padding=row.pad)
    if row.batch_norm:
      norm = weights[f"{layer_name(index)}_norm"]
      factors = (norm["scale"], norm["bias"])
      x = functional.batch_norm(x, None, None, *factors, training=True)
    return functional.leaky_relu(x, 0.1) if row.activation == "leaky" else x

  operations = {**torch_operations(), Conv: conv}
  every = [x for own in weights.values() for x in own.values()]
  last = weights[layer_name(len(layers) - 2)]["kernel"]
  place = next(n for n, x in enumerate(every) if x is last)

  def loss(x: Any) -> Any:
    return (run_table(layers, x, operations) ** 2).mean()

  forward = torch.compile(loss) if compiled else loss

  def run(x: np.ndarray) -> tuple[float, np.ndarray]:
    x = torch.from_numpy(x).permute(0, 3, 1, 2)  # channels last already
    value = forward(x)
    grads = torch.autograd.grad(value, every)
    return value.item(), grads[place].permute(2, 3, 1, 0).numpy()

  return run


class Subject(NamedTuple):
  """What is timed: the detector with the program's reorg, random weights."""

  network: Network
  trained: Trained

  @property
  def variables(self) -> Any:
    """Of the network."""
    return self.trained.variables


def random_detector(width: float, size: int) -> Subject:
  """A detector of this width, for pictures of this size."""
  config = base.detector()
  config.task.network.update(
    width=width, passthrough="program", program_reorg=True
  )
  classes = build.read_classes(config.data)
  task = build.make_task(config, classes)
  variables = jax.jit(task.init, static_argnums=1)(
    jax.random.key(0), (size, size)
  )
  rows = detectors.network_rows(config.task.to_dict(), classes)
  assert rows is not None
  trained = Trained(
    make_task=lambda detect: task,
    detect={},
    variables=jax.device_get(variables),
    classes=classes,
    size=(size, size),
    resize="stretch",
    network=Network(rows, (size, size, 3)),
    norm_epsilon=1e-5,
    seen=0,
  )
  return Subject(Network(rows, (size, size, 3)), trained)


def forward_jobs(
  subject: Subject, image: np.ndarray, folder: Path
) -> dict[str, Job]:
  """The network by each library; each gives (B, Y, X, D)."""
  network = subject.network
  layers, variables = fold(network.layers, subject.variables, gpu_deviation)
  planar = np.ascontiguousarray(image.transpose(0, 3, 1, 2))
  torch_run = pytorch(layers, variables)
  opencv_run = opencv(network, subject.variables, folder)
  onnx_run = onnx_runtime(layers, variables, image.shape[1])
  return {
    "yolo9000": partial(ours(layers, variables), image),
    "PyTorch": lambda: torch_run(planar).transpose(0, 2, 3, 1),
    "ONNX Runtime": partial(onnx_run, image),
    "OpenCV": lambda: opencv_run(planar).transpose(0, 2, 3, 1),
  }


def train_jobs(
  subject: Subject, image: np.ndarray, folder: Path
) -> dict[str, Job]:
  """A loss and its gradients; each gives the last kernel's."""
  del folder
  given = (subject.network.layers, subject.variables)
  steps = {
    "yolo9000": our_step(*given),
    "PyTorch": pytorch_step(*given, compiled=False),
    "compiled": pytorch_step(*given, compiled=True),
  }
  return {
    name: lambda step=step: step(image)[1] for name, step in steps.items()
  }


def detect_jobs(
  subject: Subject, image: np.ndarray, folder: Path
) -> dict[str, Job]:
  """From pictures to boxes; each gives the scores."""
  from yolo9000.export import onnx as writer

  pictures = (image * 255).astype(np.uint8)
  (path,) = writer.write(subject.trained, folder / "it.onnx")
  alone = session(path.read_bytes())

  def by(detector: Detector) -> Job:
    prepared = [detector.prepare(one) for one in pictures]

    def run() -> np.ndarray:
      found = detector.start(prepared, len(prepared))
      detector.finish(found, prepared)
      return np.asarray(found.scores)

    return run

  return {
    "yolo9000": by(Detector(subject.trained)),
    "engine=onnx": by(Detector(subject.trained, engine="onnx")),
    "ONNX Runtime": lambda: alone.run(["scores"], {"images": pictures})[0],
  }


WHAT = {"forward": forward_jobs, "train": train_jobs, "detect": detect_jobs}


def main() -> None:
  """Prints a line for each library and batch size."""
  parser = command_line.parser("yolo9000.benchmarks.peers", __doc__)
  parser.add_argument("--what", default="forward,train,detect")
  parser.add_argument("--width", type=float, default=1.0)
  parser.add_argument("--size", type=int, default=416)
  parser.add_argument("--batch_sizes", default="1,8")
  parser.add_argument("--rounds", type=int, default=10)
  args = parser.parse_args()
  what = args.what.split(",")
  if wrong := set(what) - {*WHAT, *torchvision.WHAT}:
    parser.error(
      f"--what has {', '.join(wrong)}; there are "
      f"{', '.join([*WHAT, *torchvision.WHAT])}"
    )
  needed = ["torch", "onnx", "onnxruntime"]
  needed += ["torchvision"] if set(what) & set(torchvision.WHAT) else []
  if missing := [name for name in needed if find_spec(name) is None]:
    parser.error(f"needs {', '.join(missing)}: pip install -e '.[bench]'")
  compilation.set_up()
  for kind in what:
    for count in map(int, args.batch_sizes.split(",")):
      with tempfile.TemporaryDirectory() as folder:
        jobs = make_jobs(kind, args.width, args.size, count, Path(folder))
        for _ in range(2):  # the second time, training has made an update
          turns.compare(jobs)
        turns.report(f"{kind:8}", jobs, images=count, rounds=args.rounds)


def make_jobs(
  kind: str, width: float, size: int, count: int, folder: Path
) -> dict[str, Job]:
  """By each library, of so many pictures."""
  if kind in torchvision.WHAT:
    return torchvision.WHAT[kind](count)
  shape = (count, size, size, 3)
  image = np.random.default_rng(0).uniform(0, 1, shape).astype(np.float32)
  return WHAT[kind](random_detector(width, size), image, folder)


if __name__ == "__main__":
  main()
