"""Cascade R-CNN: "Delving into High Quality Object Detection", 1712.00726.

Faster R-CNN whose second stage is there three times. Each is trained on the
boxes of the one before, and for a higher IoU: a box that overlaps its object by
.7 is of no use to a head that was trained with .5, and the other way round.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from yolo9000 import boxes as box
from yolo9000.boxes import coding, sampling, suppression
from yolo9000.boxes.proposals import Amounts
from yolo9000.boxes.sampling import Rois, SampledRois
from yolo9000.boxes.suppression import Suppression
from yolo9000.detectors import faster_rcnn
from yolo9000.detectors.faster_rcnn import Network
from yolo9000.networks import input as pictures
from yolo9000.networks.norm import Norm
from yolo9000.networks.regions import Predictor
from yolo9000.types import Batch, Detections, Float, Step, Task, UInt8
from yolo9000.wordtree import Classes


class Stages(NamedTuple):
  """In a config, `task.stages`; each field has a value for every stage.

  Attributes:
    foreground: least IoU of a roi that has a truth; the others have none. Of
      the first stage task.loss.foreground is the same.
    weights: of the codes, for centres and for sides.
    loss: factors of the stages' losses. Differs: 1, .5 and .25 in the program,
      where the heads' rates are 1, 2 and 4 times as high.

  Source: section 4.3; the weights are the inverse of the program's deviations,
  .1 and .2, .05 and .1, .033 and .067.
  """

  foreground: Any = (0.5, 0.6, 0.7)
  weights: Any = ((10.0, 5.0), (20.0, 10.0), (30.0, 15.0))
  loss: Any = (1.0, 1.0, 1.0)

  def codes(self, number: int) -> coding.Weights:
    """The weights of a stage for (t_x, t_y, t_w, t_h)."""
    centre, side = self.weights[number]
    return (centre, centre, side, side)


class Options(NamedTuple):
  """In a config, `task`; all but `stages` as in `faster_rcnn.Options`.

  A stage says one box of a roi, whatever its class. Differs: the program has a
  second one, of the background, that nothing uses.
  """

  network: Network = Network()
  norm: Norm = Norm()
  train_proposals: Amounts = Amounts(2000, 2000)
  test_proposals: Amounts = Amounts(1000, 1000)
  proposal_loss: faster_rcnn.ProposalLoss = faster_rcnn.ProposalLoss()
  loss: faster_rcnn.Loss = faster_rcnn.Loss()
  stages: Stages = Stages()
  detect: Suppression = Suppression(0.5, 0.05, 2000, 100)


def check(options: Options) -> None:
  """Raises ValueError for options that cannot be, saying what can."""
  values = options._asdict()
  stages = values.pop("stages")
  faster_rcnn.check(faster_rcnn.Options(**values))
  if (
    not all(isinstance(field, Sequence) for field in stages)
    or len({len(field) for field in stages}) != 1
    or not stages.foreground
  ):
    raise ValueError(
      f"task.stages.foreground is {stages.foreground}, weights "
      f"{stages.weights} and loss {stages.loss}; expected a value for every "
      f"stage in each"
    )
  if not all(0 < least <= 1 for least in stages.foreground):
    raise ValueError(
      f"task.stages.foreground is {stages.foreground}; expected IoU above 0"
    )
  if not all(
    isinstance(pair, Sequence) and len(pair) == 2 and min(pair) > 0
    for pair in stages.weights
  ):
    raise ValueError(
      f"task.stages.weights is {stages.weights}; expected for every stage two "
      f"numbers above 0, for centres and for sides"
    )
  if min(stages.loss) < 0:
    raise ValueError(
      f"task.stages.loss is {stages.loss}; expected factors of at least 0"
    )
  if stages.foreground[0] != options.loss.foreground:
    raise ValueError(
      f"task.stages.foreground begins with {stages.foreground[0]}, and "
      f"task.loss.foreground is {options.loss.foreground}; expected the same"
    )


# The network.


class Said(NamedTuple):
  """What one stage says of all pictures.

  Attributes:
    chosen: its rois.
    logits: of them, background first; D = 1 + C.
    codes: of them, whatever the class.
  """

  chosen: Any
  logits: Float[Array, "B R D"]
  codes: Float[Array, "B R 1 4"]


class Raw(NamedTuple):
  """What the network says.

  Attributes:
    objectness, proposal_codes: of all anchors.
    stages: what each says.
    scores: of the last stage's rois, the mean of all heads' softmax.
  """

  objectness: Float[Array, "B N"]
  proposal_codes: Float[Array, "B N 4"]
  stages: list[Said]
  scores: Float[Array, "B R D"]


class CascadeRCNN(nn.Module):
  """Figure 3 (d): features, proposals, and a head for each stage.

  Attributes:
    how: the options.
    norm: of a residual network.
    num_classes: C.
    num_stages: how many heads there are.
  """

  how: Network
  norm: Norm
  num_classes: int
  num_stages: int

  def setup(self) -> None:
    """Its parts."""
    how, dtype = self.how, pictures.dtype_of(self.how.dtype)
    self.features = faster_rcnn.Features(how, self.norm)
    nn.share_scope(self, self.features)  # its layers are named as if here
    self.proposals = faster_rcnn.proposal_head(how)
    stages = range(self.num_stages)
    self.box_heads = [faster_rcnn.box_head(how) for _ in stages]
    self.predictors = [
      Predictor(self.num_classes, boxes=1, dtype=dtype) for _ in stages
    ]

  def __call__(
    self,
    x: Float[Array, "B H W 3"],
    *,
    train: bool,
    choose: faster_rcnn.Choose = faster_rcnn.whole,
    refine: Callable[[int, Said], Any] = lambda _, said: said.chosen,
    dropout_keys: Array | None = None,
  ) -> Raw:
    """From pictures in [0, 1].

    Args:
      x: the pictures.
      train: whether they are learned from.
      choose: from what is said of all anchors to the first stage's rois.
      refine: from a stage's number, and what it says, to the next one's rois.
      dropout_keys: of each picture.
    """
    levels = self.features(x, train=train)
    objectness, codes = self.proposals(levels)
    crop = partial(
      faster_rcnn.crop,
      image_size=x.shape[1:3],
      how=self.how,
      bins=self.how.bins,
    )

    def say(number: int, inside: Array) -> tuple[Array, Array]:
      vectors = self.box_heads[number](
        inside, train=train, dropout_keys=dropout_keys
      )
      return self.predictors[number](vectors)

    chosen, stages = choose(objectness, codes), []
    for number in range(self.num_stages):
      inside = jax.vmap(crop)(levels, chosen.rois)
      stages.append(Said(chosen, *say(number, inside)))
      if number + 1 < self.num_stages:
        chosen = refine(number, stages[-1])
    logits = [say(n, inside)[0] for n in range(self.num_stages - 1)]
    every = jnp.stack([*logits, stages[-1].logits])
    scores = jnp.mean(jax.nn.softmax(every, axis=-1), axis=0)
    return Raw(objectness, codes, stages, scores)


# The cascade.


def decoded(said: Said, weights: coding.Weights) -> Rois:
  """The boxes that a stage says of its rois; no gradient goes to them."""
  rois, mask = said.chosen.rois, said.chosen.mask
  codes = jax.lax.stop_gradient(said.codes[..., 0, :])
  boxes = box.clip(coding.decode(codes, rois, weights))
  return Rois(jnp.where(mask[..., None], boxes, 0.0), mask)


def learned_from(
  number: int, before: Said, batch: Batch, options: Options
) -> SampledRois:
  """The rois of a later stage: all boxes of the stage before, and the truths.

  Source: section 4.2, "cascaded regression is a resampling procedure". That
  truths are among the rois of each stage is the program's.
  """
  count = before.chosen.rois.shape[1]
  if number > 1:  # behind the rois are the truths that the stage before added
    count -= batch.boxes.shape[1]
  rois, mask = (
    part[:, :count]
    for part in decoded(before, options.stages.codes(number - 1))
  )
  least = options.stages.foreground[number]
  of_picture = partial(sampling.every_roi, foreground=least)
  return jax.vmap(of_picture)(rois, mask, batch.boxes, batch.mask)


def stage_parts(
  stages: list[Said], batch: Batch, options: Options
) -> dict[str, Float[Array, ""]]:
  """The losses of all stages, label_1, coord_1 and so on, of a batch."""
  parts = {}
  for number, said in enumerate(stages):
    found = faster_rcnn.second_parts(
      said, batch, loss=options.loss, weights=options.stages.codes(number)
    )
    for name, part in found.items():
      parts[f"{name}_{number + 1}"] = options.stages.loss[number] * part
  return parts


def make_task(options: Options, classes: Classes) -> Task:
  """Cascade R-CNN for these classes.

  Args:
    options: each is documented and checked where it is defined.
    classes: C of them.

  Raises:
    ValueError: for an option that cannot be, saying what can.
  """
  check(options)
  how = options.network._replace(ratios=tuple(options.network.ratios))
  stages = options.stages
  count = len(stages.foreground)
  network = CascadeRCNN(how, options.norm, len(classes.names), count)
  check_size = partial(faster_rcnn.check_sides, how)

  init = partial(pictures.begin, network, check_size)

  def loss(variables: Any, batch: Batch, step: Step) -> tuple[Array, Any]:
    of_anchors, of_rois, of_dropout = faster_rcnn.keys_of(step, batch)

    def refine(number: int, said: Said) -> SampledRois:
      return learned_from(number + 1, said, batch, options)

    choose = faster_rcnn.training_rois(
      batch,
      of_rois,
      how=how,
      amounts=options.train_proposals,
      loss=options.loss,
    )
    raw, stats = pictures.train(
      network,
      variables,
      batch.image,
      choose=choose,
      refine=refine,
      dropout_keys=of_dropout,
    )
    parts = faster_rcnn.first_parts(
      raw, batch, of_anchors, how=how, loss=options.proposal_loss
    )
    parts |= stage_parts(raw.stages, batch, options)
    return sum(parts.values()), (stats, parts)

  def predict(variables: Any, images: UInt8[Array, "B H W 3"]) -> Detections:
    size, amounts = images.shape[1:3], options.test_proposals
    raw = pictures.predict(
      network,
      variables,
      images,
      choose=faster_rcnn.shown_rois(size, how=how, amounts=amounts),
      refine=lambda number, said: decoded(said, stages.codes(number)),
    )
    last = raw.stages[-1]
    of_picture = partial(
      suppression.of_classes,
      weights=stages.codes(count - 1),
      how=options.detect,
    )
    return jax.vmap(of_picture)(
      raw.scores[..., 1:], last.codes, last.chosen.rois, last.chosen.mask
    )

  return Task(init, loss, predict, check_size)
