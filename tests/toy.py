"""One box and one class of each picture, from the mean of its pixels."""

from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from yolo9000 import losses
from yolo9000.networks import input as pictures
from yolo9000.types import Detections, Task


class Network(NamedTuple):
  hidden: int = 16


class Detect(NamedTuple):
  score_threshold: float = 0.0


class Options(NamedTuple):
  network: Network = Network()
  detect: Detect = Detect()


class Mean(nn.Module):
  sizes: tuple[int, int]

  @nn.compact
  def __call__(self, x, *, train):
    x = nn.relu(nn.Dense(self.sizes[0])(x.mean((1, 2))))
    return nn.Dense(self.sizes[1])(x)


def make_task(options, classes):
  network = Mean((options.network.hidden, 4 + len(classes.names)))

  def check_size(size):
    if any(side % 32 for side in size):
      raise ValueError(f"image size {size[0]} must be a multiple of 32")

  def loss(variables, batch, step):
    output, stats = pictures.train(network, variables, batch.image)
    box = jnp.mean((output[:, :4] - batch.boxes[:, 0]) ** 2)
    alone = jnp.eye(len(output), dtype=bool)
    error = losses.softmax_error(output[:, 4:], batch.labels[:, 0], alone)
    parts = {"coord": box, "label": jnp.mean(error)}
    return sum(parts.values()), (stats, parts)

  def predict(variables, images):
    output = pictures.predict(network, variables, images)
    scores = jax.nn.softmax(output[:, 4:])
    best, label = scores.max(1)[:, None], scores.argmax(1)[:, None]
    shown = best > options.detect.score_threshold
    return Detections(output[:, None, :4], best, label, shown)

  init = partial(pictures.begin, network, check_size)
  return Task(init, loss, predict, check_size)
