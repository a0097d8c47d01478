"""A published example of average precision, and its published figures.

Seven pictures with 15 truths and 24 detections of one class, from the README of
rafaelpadilla/Object-Detection-Metrics, which gives 26.84 % (11 points) and
24.57 % (area) at IoU .3. Its boxes count pixels inclusively.
"""

import json

from yolo9000 import evaluate

# x, y, width, height.
TRUTHS = {
  1: [(25, 16, 38, 56), (129, 123, 41, 62)],
  2: [(123, 11, 43, 55), (38, 132, 59, 45)],
  3: [(16, 14, 35, 48), (123, 30, 49, 44), (99, 139, 47, 47)],
  4: [(53, 42, 40, 52), (154, 43, 31, 34)],
  5: [(59, 31, 44, 51), (48, 128, 34, 52)],
  6: [(36, 89, 52, 76), (62, 58, 44, 67)],
  7: [(28, 31, 55, 63), (58, 67, 50, 58)],
}
# picture, score, x, y, width, height.
DETECTIONS = [
  *((1, 0.88, 5, 67, 31, 48), (1, 0.70, 119, 111, 40, 67)),
  *((1, 0.80, 124, 9, 49, 67), (2, 0.71, 64, 111, 64, 58)),
  *((2, 0.54, 26, 140, 60, 47), (2, 0.74, 19, 18, 43, 35)),
  *((3, 0.18, 109, 15, 77, 39), (3, 0.67, 86, 63, 46, 45)),
  *((3, 0.38, 160, 62, 36, 53), (3, 0.91, 105, 131, 47, 47)),
  *((3, 0.44, 18, 148, 40, 44), (4, 0.35, 83, 28, 28, 26)),
  *((4, 0.78, 28, 68, 42, 67), (4, 0.45, 87, 89, 25, 39)),
  *((4, 0.14, 10, 155, 60, 26), (5, 0.62, 50, 38, 28, 46)),
  *((5, 0.44, 95, 11, 53, 28), (5, 0.95, 29, 131, 72, 29)),
  *((5, 0.23, 29, 163, 72, 29), (6, 0.45, 43, 48, 74, 38)),
  *((6, 0.84, 17, 155, 29, 35), (6, 0.43, 95, 110, 25, 42)),
  *((7, 0.48, 16, 20, 101, 88), (7, 0.95, 33, 116, 37, 49)),
]
OBJECT = (
  "<object><name>object</name><bndbox><xmin>{}</xmin><ymin>{}</ymin>"
  "<xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"
)


def test_the_published_figures(tmp_path):
  for folder in ("Annotations", "ImageSets/Main"):
    (tmp_path / folder).mkdir(parents=True)
  for picture, boxes in TRUTHS.items():
    objects = "".join(OBJECT.format(x, y, x + w, y + h) for x, y, w, h in boxes)
    (tmp_path / "Annotations" / f"{picture:05d}.xml").write_text(
      "<annotation><size><width>400</width><height>400</height></size>"
      f"{objects}</annotation>"
    )
  names = "".join(f"{picture:05d}\n" for picture in TRUTHS)
  (tmp_path / "ImageSets" / "Main" / "test.txt").write_text(names)
  found = tmp_path / "comp4_det_test_object.txt"
  found.write_text(
    "".join(
      f"{picture:05d} {score} {x} {y} {x + w} {y + h}\n"
      for picture, score, x, y, w, h in DETECTIONS
    )
  )
  out = tmp_path / "out"
  words = [f"--detections={found}", "--data", "voc", str(tmp_path), "test"]
  assert evaluate.main([*words, "--voc_iou=.3", f"--out={out}"]) == 0
  figures = json.loads((out / "figures.json").read_text())
  assert round(100 * figures["VOC07 AP"], 2) == 26.84
  assert round(100 * figures["VOC10 AP"], 2) == 24.57
  assert figures["truths"] == 15 and figures["detections"] == 24
