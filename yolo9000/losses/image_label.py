"""The loss of a picture with a label and no boxes: YOLO9000, section 4."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

from yolo9000.losses.detection import Weights
from yolo9000.types import Float, Int

# Whose IoU with an object is assumed where only an image label is known.
ASSUMED_IOU = 0.3
SLOT_RULES = ("probability", "score", "objectness")
OBJECTNESS_RULES = ("paper", "2017", "later")


def image_label_loss(
  raw: Float[Array, "Y X A F"],
  label: Int[Array, ""],
  *,
  class_error: Callable[..., Float[Array, " M"]],
  weights: Weights,
  slot_rule: str,
  objectness_rule: str,
  class_logits: Callable[[Int[Array, " M"]], Float[Array, "M C"]] | None = None,
  slot_errors: Callable[[Int[Array, ""]], Float[Array, " N"]] | None = None,
) -> dict[str, Float[Array, ""]]:
  """Class and objectness error of one picture with a label and no boxes.

  One slot is made responsible for the label. No box is known or taught.

    label       weights.label * class_error of the responsible slot
    objectness  1/2 weights.objectness (.3 - sigmoid(t_o))^2 of the responsible
                slot where its objectness is below .3, under the rules "paper"
                and "2017"
    background  1/2 weights.background sigmoid(t_o)^2 of every other slot, under
                the rules "2017" and "later"

  Args:
    raw: no activation applied.
    label: of the picture, below C.
    class_error: `softmax_error`, or `tree_error` with a tree: minus the
      log-probability of the label.
    weights: as for `detection_loss`.
    slot_rule: responsible is, the first of equals, the slot of the greatest
      "probability" of the label, as in the paper; "score", objectness times
      probability, as in the program; or "objectness".
    objectness_rule: "paper": an IoU of .3 is assumed. "2017": so in the program
      of January 2017, which besides takes all other slots for background.
      "later": from July 2017 the program does the second alone.
    class_logits: as for `detection_loss`...
    slot_errors: ...and with it the class_error of a label in every slot; not
      needed for "objectness".

  Returns:
    The three parts by name. Their sum is the loss.

  Raises:
    ValueError: for another rule, or class_logits without slot_errors where
      these are needed.

  Source: YOLO9000, section 4, "Joint classification and detection".
  """
  check_rules(slot_rule, objectness_rule)
  if class_logits and not slot_errors and slot_rule != "objectness":
    raise ValueError(f"slot_rule {slot_rule!r} needs slot_errors as well")
  slots = raw.reshape(-1, raw.shape[-1])  # (N, F)
  objectness = jax.nn.sigmoid(slots[:, 4])

  def error(logits: Float[Array, "M C"]) -> Float[Array, " M"]:
    alone = jnp.eye(len(logits), dtype=bool)
    return class_error(logits, jnp.broadcast_to(label, len(logits)), alone)

  if slot_rule == "objectness":
    rank = objectness
  else:
    rank = -(slot_errors(label) if slot_errors else error(slots[:, 5:]))
    if slot_rule == "score":
      rank += jax.nn.log_sigmoid(slots[:, 4])
  best = jnp.argmax(rank)
  logits = class_logits(best[None]) if class_logits else slots[best][None, 5:]
  taught = float(objectness_rule != "later")
  suppressed = float(objectness_rule != "paper")
  lacking = jnp.maximum(ASSUMED_IOU - objectness[best], 0.0)
  others = jnp.sum(objectness**2) - objectness[best] ** 2
  return {
    "objectness": weights.objectness * (taught * lacking**2 / 2),
    "background": weights.background * (suppressed * others / 2),
    "label": weights.label * error(logits)[0],
  }


def check_rules(slot_rule: str, objectness_rule: str) -> None:
  """Raises ValueError for a rule that `image_label_loss` does not have."""
  if slot_rule not in SLOT_RULES or objectness_rule not in OBJECTNESS_RULES:
    raise ValueError(
      f"slot_rule {slot_rule!r} must be one of {', '.join(SLOT_RULES)}, and "
      f"objectness_rule {objectness_rule!r} of {', '.join(OBJECTNESS_RULES)}"
    )
