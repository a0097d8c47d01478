"""The forward pass here and elsewhere: python -m yolo9000.benchmarks.peers

The same weights, batch norm folded, in this package, PyTorch, ONNX Runtime and
OpenCV, on the CPU, all with as many threads as there are cores. Their outputs
are compared before anything is timed; rounds are interleaved.

Needs pip install -e '.[bench]'.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import jax
import numpy as np

from experiments import base
from yolo9000 import command_line, detectors
from yolo9000.darknet.cfg import write_cfg
from yolo9000.darknet.weights import (
  Header,
  fold,
  gpu_deviation,
  write_weights,
)
from yolo9000.networks.chain import Chain
from yolo9000.networks.rows import (
  Conv,
  Layer,
  MaxPool,
  Network,
  Reorg,
  Route,
  layer_name,
  output_shapes,
)
from yolo9000.tables.timing import interleaved
from yolo9000.training import build

Forward = Callable[[np.ndarray], Any]  # (B, 3, H, W) to (B, D, Y, X)


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

  def reorg(row, index, x):
    batch, channels, height, width = x.shape
    x = x.contiguous().view(batch, channels // 4, height, 2, width, 2)
    x = x.permute(0, 3, 5, 1, 2, 4).contiguous()
    return x.view(batch, channels * 4, height // 2, width // 2)

  operations = {
    Conv: conv,
    MaxPool: lambda row, index, x: functional.max_pool2d(x, 2),
    Reorg: reorg,
    Route: lambda row, index, x: x[0] if len(x) == 1 else torch.cat(x, dim=1),
  }

  def run(x):
    with torch.inference_mode():
      tensor = torch.from_numpy(x).to(memory_format=last)
      return run_table(layers, tensor, operations).numpy()

  return run


def onnx_runtime(network: Network, variables: Any) -> Forward:
  """ONNX Runtime on a graph that is written here."""
  import onnx
  import onnxruntime
  from onnx import helper, numpy_helper

  layers, (height, width, _) = network
  shapes = output_shapes(layers, network.shape)
  nodes, constants = [], []

  def constant(name, array):
    constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
    return name

  def node(kind, inputs, name, **attributes):
    nodes.append(helper.make_node(kind, inputs, [name], **attributes))
    return name

  def conv(row, index, x):
    name = layer_name(index)
    weights = variables["params"][name]
    kernel = constant(f"{name}_k", weights["kernel"].transpose(3, 2, 0, 1))
    bias = constant(f"{name}_b", weights["bias"])
    x = node("Conv", [x, kernel, bias], name, pads=[row.pad] * 4)
    if row.activation == "leaky":
      x = node("LeakyRelu", [x], f"{name}_leaky", alpha=0.1)
    return x

  def reorg(row, index, x):
    height, width, channels = shapes[index - 1]
    view = (-1, channels // 4, height, 2, width, 2)
    joined = (-1, channels * 4, height // 2, width // 2)
    view = constant(f"view_{index}", np.array(view))
    joined = constant(f"joined_{index}", np.array(joined))
    x = node("Reshape", [x, view], f"split_{index}")
    x = node("Transpose", [x], f"turned_{index}", perm=[0, 3, 5, 1, 2, 4])
    return node("Reshape", [x, joined], f"reorg_{index}")

  operations = {
    Conv: conv,
    MaxPool: lambda row, index, x: node(
      "MaxPool", [x], f"pool_{index}", kernel_shape=[2, 2], strides=[2, 2]
    ),
    Reorg: reorg,
    Route: lambda row, index, x: node("Concat", x, f"route_{index}", axis=1),
  }
  output = run_table(layers, "image", operations)
  kind = onnx.TensorProto.FLOAT
  graph = helper.make_graph(
    nodes,
    "detector",
    [helper.make_tensor_value_info("image", kind, ["B", 3, height, width])],
    [helper.make_tensor_value_info(output, kind, None)],
    constants,
  )
  opset = [helper.make_opsetid("", 17)]
  made = helper.make_model(graph, opset_imports=opset, ir_version=8)
  options = onnxruntime.SessionOptions()
  options.intra_op_num_threads = os.cpu_count() or 1
  session = onnxruntime.InferenceSession(made.SerializeToString(), options)
  return lambda x: session.run(None, {"image": x})[0]


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


def random_network(width: float, size: int) -> tuple[Network, Any]:
  """The detector with the program's reorg, and random weights."""
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
  return Network(rows, (size, size, 3)), jax.device_get(variables)


def main() -> None:
  """Prints a line for each library and batch size."""
  parser = command_line.parser("yolo9000.benchmarks.peers", __doc__)
  parser.add_argument("--width", type=float, default=1.0)
  parser.add_argument("--size", type=int, default=416)
  parser.add_argument("--batch_sizes", default="1,8")
  parser.add_argument("--rounds", type=int, default=10)
  args = parser.parse_args()
  needed = ("torch", "onnx", "onnxruntime")
  if missing := [name for name in needed if find_spec(name) is None]:
    parser.error(f"needs {', '.join(missing)}: pip install -e '.[bench]'")
  network, variables = random_network(args.width, args.size)
  folded = fold(network.layers, variables, gpu_deviation)
  rng = np.random.default_rng(0)
  with tempfile.TemporaryDirectory() as folder:
    engines = {
      "yolo9000": ours(*folded),
      "PyTorch": pytorch(*folded),
      "ONNX Runtime": onnx_runtime(
        network._replace(layers=folded[0]), folded[1]
      ),
      "OpenCV": opencv(network, variables, Path(folder)),
    }
    for batch_size in map(int, args.batch_sizes.split(",")):
      shape = (batch_size, args.size, args.size, 3)
      image = rng.uniform(0, 1, shape).astype(np.float32)
      planar = np.ascontiguousarray(image.transpose(0, 3, 1, 2))
      inputs = {name: planar for name in engines} | {"yolo9000": image}
      expected = np.asarray(engines["yolo9000"](image)).transpose(0, 3, 1, 2)
      for name in list(engines)[1:]:
        error = np.abs(engines[name](planar) - expected).max()
        if not error < 1e-3 * np.abs(expected).max():
          raise SystemExit(f"{name} computes something else: {error} apart")
      jobs = {n: partial(engines[n], inputs[n]) for n in engines}
      seconds = interleaved(jobs, rounds=args.rounds)
      for name, total in seconds.items():
        print(
          f"batch {batch_size}  {name:13} {1000 * total / batch_size:7.1f} "
          f"ms/image  {total / seconds['yolo9000']:.2f}"
        )


if __name__ == "__main__":
  main()
