"""What cannot be is found before a step is made."""

import json

import cv2
import numpy as np
import pytest
from support import tiny_config

from yolo9000.training import build, validation


@pytest.mark.parametrize(
  "changes",
  [
    {"evaluation__metric": "top-1"},
    {"evaluation__metric": "COCO mask AP"},
  ],
)
def test_a_metric_of_what_is_not_found(changes):
  config = tiny_config(**changes)
  with pytest.raises(ValueError, match=r"evaluation\.metric.*task\.model"):
    validation.validate(config)


def test_masks_that_the_pictures_to_test_on_have_not(tmp_path):
  """A file of COCO's without a mask."""
  image = {"id": 1, "file_name": "a.jpg", "width": 9, "height": 9}
  box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5]}
  (tmp_path / "boxes.json").write_text(
    json.dumps(
      {
        "images": [image],
        "annotations": [box],
        "categories": [{"id": 1, "name": "cat"}],
      }
    )
  )
  cv2.imwrite(str(tmp_path / "a.jpg"), np.zeros((9, 9, 3), np.uint8))
  config = tiny_config(class_names=("cat",), evaluation__metric="COCO mask AP")
  config.data.test.update(format="coco", root=str(tmp_path), split="boxes.json")
  classes = build.read_classes(config.data)
  with pytest.raises(ValueError, match=r"1 objects, none with a mask"):
    build.test_data(config, classes)


@pytest.mark.parametrize("ending", ["pth", "pt", "safetensors"])
def test_a_start_from_a_file_of_pytorch_says_how_to_write_another(
  tmp_path, ending
):
  path = tmp_path / f"a.{ending}"
  path.touch()
  config = tiny_config(run__start_from=str(path))
  with pytest.raises(ValueError, match=r"expected an \.npz, .*np\.savez"):
    validation.validate(config)
