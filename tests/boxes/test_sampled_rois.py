"""Which rois of a picture are learned from."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from yolo9000 import boxes as box
from yolo9000.boxes.proposals import given
from yolo9000.boxes.sampling import sample_rois


class How(NamedTuple):
  foreground: float = 0.5
  background: float = 0.1
  samples: int = 8
  positives: float = 0.25


TRUTHS = jnp.array([[0.1, 0.1, 0.5, 0.5], [0.6, 0.6, 0.9, 0.9], [0, 0, 0, 0]])
MASK = jnp.array([True, True, False])
moved = partial(jax.jit, static_argnames="how")(sample_rois)


def proposals():
  """Three near the truths, ten that touch one, five far, two of padding."""
  near = [[0.1, 0.1, 0.5, 0.45], [0.6, 0.6, 0.85, 0.9], [0.12, 0.1, 0.5, 0.5]]
  touch = [[0.25, 0.25 - n / 100, 0.6, 0.6] for n in range(10)]
  far = [[0.0, 0.92 + n / 100, 0.05, 0.99] for n in range(5)]
  return jnp.array([*near, *touch, *far, [0, 0, 0, 0], [0, 0, 0, 0]])


@pytest.mark.parametrize("seed", range(3))
def test_a_share_finds_and_the_rest_nearly_does(seed):
  found = moved(
    jax.random.key(seed), given(proposals()), TRUTHS, MASK, how=How()
  )
  positive, negative = found.sample
  assert positive.sum() == 2 and negative.sum() == 6
  overlap = box.iou(found.rois[:, None], TRUTHS[None, :2])
  most = np.asarray(overlap.max(1))
  assert (most[positive] >= 0.5).all()
  assert ((most[negative] >= 0.1) & (most[negative] < 0.5)).all()
  np.testing.assert_array_equal(
    np.argmax(overlap, axis=1)[positive], found.truth[positive]
  )


def test_each_key_draws_others_and_the_same_key_the_same():
  drawn = [
    moved(jax.random.key(seed), given(proposals()), TRUTHS, MASK, how=How())
    for seed in (0, 0, 1)
  ]
  np.testing.assert_array_equal(drawn[0].rois, drawn[1].rois)
  assert (drawn[0].rois != drawn[2].rois).any()


def test_without_truths_there_is_background_alone():
  """With low above 0 there is none either: nothing overlaps anything."""
  nobody = jnp.zeros(3, bool)
  arrays = (jax.random.key(0), given(proposals()), TRUTHS, nobody)
  found = moved(*arrays, how=How(background=0.0))
  assert not found.sample.positive.any() and found.sample.negative.sum() == 8
  assert (box.area(found.rois) > 0).all()  # no padding
  found = moved(*arrays, how=How())
  assert not (found.sample.positive | found.sample.negative).any()
