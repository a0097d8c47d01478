"""What a tree of thousands of classes costs: python -m yolo9000.benchmarks.tree

A softmax in each group of siblings against one over all classes; YOLO9000's
last layer for every cell against that for few (task.detect.max_cells): time,
and memory by the compiler. Medians of interleaved rounds in one run.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments import yolo9000 as experiment
from yolo9000 import command_line, detectors, losses, wordtree
from yolo9000.benchmarks import speed
from yolo9000.networks import input as pictures
from yolo9000.networks.chain import Chain
from yolo9000.tables.timing import interleaved
from yolo9000.training import build
from yolo9000.wordtree import WordTree
from yolo9000.wordtree import files as tree_files

LABELS = 32


def random_tree(num_nodes: int) -> WordTree:
  """Groups of about as many siblings as in the published tree."""
  rng = np.random.default_rng(0)
  parents = [-1] * 3
  node = 0
  while len(parents) < num_nodes:
    if rng.random() < 0.25 or node == len(parents) - 1:
      parents += [node] * int(1 + rng.geometric(0.2))
    node += 1
  parents = parents[:num_nodes]
  return WordTree(tuple(map(str, range(num_nodes))), tuple(parents))


def softmax_jobs(tree: WordTree) -> dict[str, Callable[[], Any]]:
  """Flat and by groups, for LABELS rows of logits: softmax, loss, gradient."""
  rng = np.random.default_rng(0)
  count = len(tree.ids)
  logits = jnp.asarray(rng.normal(size=(LABELS, count)), jnp.float32)
  labels = jnp.asarray(rng.integers(0, count, LABELS), jnp.int32)
  alone = jnp.eye(LABELS, dtype=bool)
  weight = jnp.asarray(rng.normal(size=logits.shape), jnp.float32)
  flat_error, tree_error = (
    losses.softmax_error,
    partial(losses.tree_error, tree=tree),
  )

  def job(function: Callable[..., Any], *args: Any) -> Callable[[], Any]:
    compiled = jax.jit(function)
    return lambda: jax.block_until_ready(compiled(*args))

  def gradient(function: Callable[[Any], Any]) -> Callable[[], Any]:
    return job(jax.grad(lambda x: jnp.sum(weight * function(x))), logits)

  def of_loss(error: Callable[..., Any]) -> Callable[[], Any]:
    total = jax.grad(lambda x, y: jnp.sum(error(x, y, alone)))
    return job(total, logits, labels)

  grouped = partial(wordtree.log_softmax, tree)
  return {
    "flat log-softmax": job(jax.nn.log_softmax, logits),
    "tree log-softmax": job(grouped, logits),
    "flat log-softmax, gradient": gradient(jax.nn.log_softmax),
    "tree log-softmax, gradient": gradient(grouped),
    "flat loss": job(flat_error, logits, labels, alone),
    "tree loss": job(tree_error, logits, labels, alone),
    "flat loss, gradient": of_loss(flat_error),
    "tree loss, gradient": of_loss(tree_error),
  }


def trunk_job(config: Any, images: Any) -> Callable[[], Any]:
  """The network without its last layer."""
  classes = build.read_classes(config.data)
  rows = detectors.network_rows(config.task.to_dict(), classes)
  network = Chain(rows[:-2], jnp.dtype(config.task.network.dtype))
  variables = jax.jit(partial(network.init, train=False))(
    jax.random.key(0), pictures.normalise(images)
  )
  run = jax.jit(partial(pictures.predict, network))
  return lambda: jax.block_until_ready(run(variables, images))


def ratios(times: dict[str, float]) -> Iterator[str]:
  """Lines for pairs of jobs, the second with its ratio to the first."""
  names = list(times)
  for first, second in zip(names[::2], names[1::2], strict=True):
    ratio = times[second] / times[first]
    yield f"{first:26} {1000 * times[first]:8.2f} ms"
    yield f"{second:26} {1000 * times[second]:8.2f} ms, {ratio:.2f} times"


def head_lines(tree: WordTree, args: argparse.Namespace) -> Iterator[str]:
  """Time and memory with the classes of every cell and with those of few."""
  config = speed.full_size(
    experiment.get_config(),
    width=args.width,
    size=args.size,
    batch_size=args.batch_size,
    dtype=args.dtype,
  )
  config.data.update(class_names=tree.ids)
  with config.ignore_type():
    config.data.tree = tree.parents
  config.evaluation.groups = {}
  config.task.network.passthrough = args.head
  batch = speed.random_batch(config)
  made = []
  for cells in (0, args.cells):
    config.task.joint.few_cells = cells > 0
    config.task.detect.max_cells = cells
    made.append(speed.network_jobs(build.make_task(config), batch))
  whole, few = made
  times = interleaved(
    {
      "training step, every cell": whole.train_step,
      "training step, few": few.train_step,
      "prediction, every cell": whole.forward,
      "prediction, few cells": few.forward,
      "without the last layer": trunk_job(config, batch.image),
    },
    rounds=args.rounds,
  )
  trunk = times.pop("without the last layer")
  yield from ratios(times)
  for name in ("prediction, every cell", "prediction, few cells"):
    share = 100 * (1 - trunk / times[name])
    yield f"{name:26} {share:8.1f} % of it after the last layer but one"
  for name in ("train_step_bytes", "forward_bytes"):
    both = [getattr(jobs, name) / 2**20 for jobs in (whole, few)]
    yield f"{name:26} {both[0]:8.0f} MiB, {both[1]:.0f} with few cells"


def main() -> None:
  """Prints a line for each part."""
  parser = command_line.parser("yolo9000.benchmarks.tree", __doc__)
  parser.add_argument("--tree", help="a .tree file; default: a random one")
  parser.add_argument("--nodes", type=int, default=9418, help="of that one")
  parser.add_argument("--width", type=float, default=1.0)
  parser.add_argument("--size", type=int, default=544)
  parser.add_argument("--batch_size", type=int, default=2)
  parser.add_argument(
    "--cells", type=int, default=16, help="task.detect.max_cells"
  )
  parser.add_argument("--head", default="bare", help="of the network")
  parser.add_argument("--dtype", default="float32")
  parser.add_argument("--rounds", type=int, default=5)
  args = parser.parse_args()
  tree = random_tree(args.nodes)
  if args.tree:
    tree = tree_files.read_tree(args.tree)
  device = jax.devices()[0].device_kind
  print(
    f"tree of {len(tree.ids)} nodes, {tree.num_groups} groups; {args.head} "
    f"head, width {args.width:g}, {args.size}x{args.size}, batch "
    f"{args.batch_size}, {args.dtype}, {args.cells} cells, on "
    f"{jax.device_count()} x {device}, jax {jax.__version__}"
  )
  for line in ratios(interleaved(softmax_jobs(tree), rounds=10 * args.rounds)):
    print(line)
  for line in head_lines(tree, args):
    print(line)


if __name__ == "__main__":
  main()
