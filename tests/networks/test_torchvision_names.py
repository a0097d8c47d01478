"""Names of torchvision's layers, as old and new files have them."""

import numpy as np
import pytest

from yolo9000.networks.torchvision import converted

OLD_AND_NEW = {
  "backbone.fpn.inner_blocks.2": "backbone.fpn.inner_blocks.2.0",
  "backbone.fpn.layer_blocks.0": "backbone.fpn.layer_blocks.0.0",
  "rpn.head.conv": "rpn.head.conv.0.0",
  "roi_heads.mask_head.mask_fcn1": "roi_heads.mask_head.0.0",
  "roi_heads.mask_head.mask_fcn4": "roi_heads.mask_head.3.0",
  "head.classification_head.conv.0": "head.classification_head.conv.0.0",
  "head.regression_head.conv.6": "head.regression_head.conv.3.0",
}


@pytest.mark.parametrize(("old", "new"), OLD_AND_NEW.items())
def test_a_layer_of_an_older_file_is_the_same_layer(old, new):
  kernel = np.zeros((4, 2, 3, 3), np.float32)
  (name,) = converted({f"{old}.weight": kernel})
  assert [name] == list(converted({f"{new}.weight": kernel}))
  assert "." not in name
