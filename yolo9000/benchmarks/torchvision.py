"""Detectors that torchvision has too, at full size, with its random weights.

They learn from the same truths: the loss, its gradients and an update by SGD.
Batch norm takes its statistics from the batch, as torchvision's does if nothing
is downloaded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np

from yolo9000.benchmarks.turns import Job
from yolo9000.data.batches import empty_batch
from yolo9000.detectors import faster_rcnn, retinanet, ssd
from yolo9000.networks import input as pictures
from yolo9000.networks.torchvision import converted
from yolo9000.training.start import Start, take
from yolo9000.types import Batch, Step, Task
from yolo9000.wordtree import Classes

OUTPUTS = 91  # of torchvision's heads for each box, COCO's and some without use
NUM_TRUTHS = 8  # of a picture
RATE = 1e-5  # SSD's random weights give a large loss
SIDE = 768  # of pictures with a pyramid; every level has whole cells


class Pair(NamedTuple):
  """The same detector here and there.

  Attributes:
    task: ours.
    network: of the task; from pictures in [0, 1] to logits, codes and more.
    model: torchvision's.
    side: of the pictures, in pixels.
    background: columns of the logits that are no class, 0 or 1.
  """

  task: Task
  network: nn.Module
  model: Any
  side: int
  background: int

  def variables(self) -> Any:
    """Ours, with the weights that torchvision's model has now."""
    state = {k: v.numpy().copy() for k, v in self.model.state_dict().items()}
    size = (self.side, self.side)
    init = partial(self.task.init, size=size)
    fresh = jax.eval_shape(init, jax.random.key(0))
    found, said = take(fresh, Start(converted(state), None), None)
    assert all(line.endswith(": taken") for line in said), said
    return jax.device_put(found)


def _classes(count: int) -> Classes:
  return Classes(tuple(str(n) for n in range(count)))


def dense() -> Pair:
  """RetinaNet at 768x768, with anchors of the paper's size there too.

  Torchvision's own are cut to whole pixels.
  """
  from torchvision.models import detection
  from torchvision.models.detection.anchor_utils import AnchorGenerator

  options = retinanet.Options(
    retinanet.Network(beyond="p5", frozen_norm=False),
    loss=retinanet.Loss(beta=0.0),
  )
  how, classes = options.network, _classes(OUTPUTS)
  growth = [how.anchor_scale * 2 ** (n / how.scales) for n in range(how.scales)]
  sizes = tuple(tuple(s * x for x in growth) for s in retinanet.STRIDES)
  model = detection.retinanet_resnet50_fpn(
    weights=None,
    weights_backbone=None,
    anchor_generator=AnchorGenerator(sizes, (how.ratios,) * len(sizes)),
    _skip_resize=True,
  )
  network = retinanet.RetinaNet(how, options.norm, OUTPUTS)
  return Pair(retinanet.make_task(options, classes), network, model, SIDE, 0)


def default_boxes() -> Pair:
  """SSD at 300x300, with torchvision's default boxes."""
  from torchvision.models import detection

  scales = (0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05)
  shapes = ssd.DefaultBoxes(sides=tuple(300 * s for s in scales), clip=True)
  options = ssd.SSD300._replace(
    default_boxes=shapes, loss=ssd.Loss(bipartite=False)
  )
  classes = _classes(OUTPUTS - 1)
  model = detection.ssd300_vgg16(
    weights=None, weights_backbone=None, _skip_resize=True
  )
  levels = len(shapes.ratios)
  network = ssd.network_of(ssd.SSD, options, classes, levels=levels)
  return Pair(ssd.make_task(options, classes), network, model, 300, 1)


def two_stages() -> Pair:
  """Faster R-CNN with a pyramid at 768x768; all pictures have as many regions.

  Torchvision has as many regions as suppression leaves, and of a random network
  it leaves few. Here its threshold is 1, and it leaves 1,000.
  """
  from torchvision.models import detection

  options = faster_rcnn.Options()
  classes = _classes(OUTPUTS - 1)
  model = detection.fasterrcnn_resnet50_fpn(
    weights=None,
    weights_backbone=None,
    rpn_nms_thresh=1.0,
    _skip_resize=True,
  )
  network = faster_rcnn.FasterRCNN(
    options.network, options.norm, len(classes.names)
  )
  return Pair(faster_rcnn.make_task(options, classes), network, model, SIDE, 1)


def random_batch(side: int, count: int, num_classes: int) -> Batch:
  """Pictures of noise with truths anywhere, a fifth of the side and more."""
  rng = np.random.default_rng(0)
  corner = rng.uniform(0, 0.5, (count, NUM_TRUTHS, 2))
  sides = rng.uniform(0.2, 0.5, (count, NUM_TRUTHS, 2))
  empty = empty_batch(count, size=side, max_objects=NUM_TRUTHS)
  return empty._replace(
    image=rng.integers(0, 256, empty.image.shape, np.uint8),
    boxes=np.concatenate([corner, corner + sides], -1).astype(np.float32),
    labels=rng.integers(0, num_classes, empty.labels.shape, np.int32),
    mask=np.ones_like(empty.mask),
    valid=np.ones_like(empty.valid),
  )


def forward_jobs(pair: Pair, batch: Batch) -> dict[str, Job]:
  """Logits and codes of all boxes, from pictures of bytes."""
  import torch

  variables = pair.variables()
  run = jax.jit(partial(pictures.predict, pair.network))
  model = pair.model.eval().to(memory_format=torch.channels_last)

  def ours() -> Any:
    return jax.block_until_ready(run(variables, batch.image)[:2])

  def theirs() -> Any:
    with torch.inference_mode():
      x = torch.from_numpy(batch.image).permute(0, 3, 1, 2) / 255
      features = list(model.backbone(model.transform.normalize(x)).values())
      found = model.head(features)
    return found["cls_logits"].numpy(), found["bbox_regression"].numpy()

  return {"yolo9000": ours, "torchvision": theirs}


def region_jobs(pair: Pair, batch: Batch) -> dict[str, Job]:
  """Logits and codes of all regions, from pictures of bytes.

  Each column is sorted by itself: a random network scores regions nearly alike,
  and rounding decides their order.
  """
  import torch
  from torchvision.models.detection.image_list import ImageList

  options = faster_rcnn.Options()
  size = (pair.side, pair.side)
  amounts = options.test_proposals._replace(iou_threshold=1.0)
  choose = faster_rcnn.shown_rois(size, how=options.network, amounts=amounts)
  variables = pair.variables()

  @jax.jit
  def run(variables: Any, images: Any) -> Any:
    x = pictures.normalise(images)
    raw = pair.network.apply(variables, x, train=False, choose=choose)
    return raw.logits, raw.codes.reshape(*raw.codes.shape[:2], -1)

  model = pair.model.eval().to(memory_format=torch.channels_last)
  heads = model.roi_heads

  def ours() -> Any:
    found = jax.block_until_ready(run(variables, batch.image))
    return [np.sort(x, axis=1) for x in found]

  def theirs() -> Any:
    with torch.inference_mode():
      x = torch.from_numpy(batch.image).permute(0, 3, 1, 2) / 255
      x = model.transform.normalize(x)
      sizes = [size] * len(x)
      features = model.backbone(x)
      rois, _ = model.rpn(ImageList(x, sizes), features)
      x = heads.box_roi_pool(features, rois, sizes)
      found = heads.box_predictor(heads.box_head(x))
    count = len(batch.image)
    return [np.sort(x.numpy().reshape(count, -1, x.shape[1]), 1) for x in found]

  return {"yolo9000": ours, "torchvision": theirs}


def our_step(pair: Pair, batch: Batch) -> Job:
  """An update by SGD; gives the loss's parts before it."""
  task = pair.task
  now = Step(np.int32(0), jax.random.key(0))

  @partial(jax.jit, donate_argnums=0)
  def step(variables: Any, batch: Batch) -> tuple[Any, Any]:
    def loss(params: Any) -> Any:
      return task.loss({**variables, "params": params}, batch, now)

    params = variables["params"]
    grads, (stats, parts) = jax.grad(loss, has_aux=True)(params)
    params = jax.tree.map(lambda p, g: p - RATE * g, params, grads)
    return {"params": params, "batch_stats": stats}, parts

  state = [pair.variables()]

  def run() -> list[float]:
    state[0], parts = jax.block_until_ready(step(state[0], batch))
    return [float(parts["label"]), float(parts["coord"])]

  return run


def their_step(pair: Pair, batch: Batch) -> Job:
  """The same by torchvision's model and PyTorch's SGD."""
  import torch

  model = pair.model.train().to(memory_format=torch.channels_last)
  optimizer = torch.optim.SGD(model.parameters(), RATE)
  targets = [
    {
      "boxes": torch.from_numpy(boxes * pair.side),
      "labels": torch.from_numpy(labels.astype(np.int64) + pair.background),
    }
    for boxes, labels in zip(batch.boxes, batch.labels, strict=True)
  ]

  def run() -> list[float]:
    x = torch.from_numpy(batch.image).permute(0, 3, 1, 2) / 255
    optimizer.zero_grad()
    parts = model(list(x), targets)
    sum(parts.values()).backward()
    optimizer.step()
    return [parts["classification"].item(), parts["bbox_regression"].item()]

  return run


def train_jobs(pair: Pair, batch: Batch) -> dict[str, Job]:
  """Updates; the weights are copied before torchvision's begin to change."""
  return {
    "yolo9000": our_step(pair, batch),
    "torchvision": their_step(pair, batch),
  }


def jobs(
  make_pair: Callable[[], Pair],
  make_jobs: Callable[[Pair, Batch], dict[str, Job]],
  count: int,
) -> dict[str, Job]:
  """Of so many pictures."""
  import torch

  torch.manual_seed(0)
  pair = make_pair()
  batch = random_batch(pair.side, count, OUTPUTS - pair.background)
  return make_jobs(pair, batch)


WHAT: Mapping[str, Callable[[int], dict[str, Job]]] = {
  "retinanet_forward": partial(jobs, dense, forward_jobs),
  "retinanet_train": partial(jobs, dense, train_jobs),
  "ssd_forward": partial(jobs, default_boxes, forward_jobs),
  "ssd_train": partial(jobs, default_boxes, train_jobs),
  "faster_rcnn_forward": partial(jobs, two_stages, region_jobs),
}
