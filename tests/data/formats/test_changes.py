"""A random change of an annotation file gives the same records, or a flaw."""

import csv
import io
import json
import random
import re
from typing import NamedTuple

import cv2
import numpy as np
import pytest

from yolo9000.data import doctor

NAMES = ("cat", "dog", "red car")
WIDTH, HEIGHT = 48, 40


class Made(NamedTuple):
  """A data set of one annotation file that is changed."""

  root: object
  split: str
  file: object


def pictures(root, folder):
  """Three pictures; each with its objects (box in pixels, class)."""
  (root / folder).mkdir(parents=True)
  rng = np.random.default_rng(0)
  objects = {}
  for n, name in enumerate(("a b", "c", "d.e")):
    noise = rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    cv2.imwrite(str(root / folder / f"{name}.png"), noise)
    objects[name] = [
      ((4 + 8 * k + n, 3 + 6 * k, 20 + 8 * k + n, 15 + 6 * k), NAMES[k])
      for k in range(1 + n)
    ]
  return objects


def make_csv(root):
  rows = ["image,label,xmin,ymin,xmax,ymax"]
  for name, objects in pictures(root, "p").items():
    rows += [
      f"p/{name}.png,{label},{','.join(map(str, box))}"
      for box, label in objects
    ]
  (root / "t.csv").write_text("\n".join(rows))
  return Made(root, "t.csv", root / "t.csv")


def make_open_images(root):
  rows = [
    "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,"
    "IsTruncated,IsGroupOf,IsDepiction,IsInside"
  ]
  for name, objects in pictures(root, "train").items():
    picture = root / "train" / f"{name}.png"
    picture.rename(picture.with_name(f"{name}.jpg"))
    for (left, top, right, bottom), label in objects:
      edges = left / WIDTH, right / WIDTH, top / HEIGHT, bottom / HEIGHT
      sides = ",".join(map(str, edges))
      rows.append(f"{name},x,{label},1,{sides},0,0,0,0,0")
  file = root / "train-annotations-bbox.csv"
  file.write_text("\n".join(rows))
  return Made(root, "train", file)


def make_coco(root):
  content = {"images": [], "annotations": [], "categories": []}
  content["categories"] = [
    {"id": 3 * n + 1, "name": name} for n, name in enumerate(NAMES)
  ]
  for n, (name, objects) in enumerate(pictures(root, "images").items()):
    size = {"width": WIDTH, "height": HEIGHT}
    content["images"].append({"id": 7 + n, "file_name": f"{name}.png"} | size)
    for (left, top, right, bottom), label in objects:
      box = [left, top, right - left, bottom - top]
      row = {"id": len(content["annotations"]), "image_id": 7 + n, "bbox": box}
      row |= {"category_id": 3 * NAMES.index(label) + 1}
      row |= {"iscrowd": 0, "area": box[2] * box[3]}
      content["annotations"].append(row)
  (root / "a.json").write_text(json.dumps(content, indent=1))
  return Made(root, "a.json", root / "a.json")


def make_voc(root):
  for folder in ("Annotations", "ImageSets/Main"):
    (root / folder).mkdir(parents=True)
  objects = pictures(root, "JPEGImages")
  for name, things in objects.items():
    rows = "\n".join(
      f"<object>\n<name>{label}</name>\n<difficult>0</difficult>\n"
      f"<bndbox>\n<xmin>{a + 1}</xmin>\n<ymin>{b + 1}</ymin>\n"
      f"<xmax>{c}</xmax>\n<ymax>{d}</ymax>\n</bndbox>\n</object>"
      for (a, b, c, d), label in things
    )
    (root / f"Annotations/{name}.xml").write_text(
      f"<annotation>\n<filename>{name}.png</filename>\n<size>\n"
      f"<width>{WIDTH}</width>\n<height>{HEIGHT}</height>\n</size>\n{rows}\n"
      f"</annotation>\n"
    )
  (root / "ImageSets/Main/train.txt").write_text("\n".join(objects))
  return Made(root, "train", root / "Annotations/d.e.xml")


def make_yolo(root):
  objects = pictures(root, "images")
  (root / "labels").mkdir()
  for name, things in objects.items():
    rows = [
      f"{NAMES.index(label)} {(a + c) / 2 / WIDTH} {(b + d) / 2 / HEIGHT} "
      f"{(c - a) / WIDTH} {(d - b) / HEIGHT}"
      for (a, b, c, d), label in things
    ]
    (root / f"labels/{name}.txt").write_text("\n".join(rows))
  (root / "classes.txt").write_text("\n".join(NAMES))
  return Made(root, "images", root / "labels/d.e.txt")


def make_folders(root):
  names = list(pictures(root, "val"))
  rows = [f"{n}.png {c.split()[0]}" for n, c in zip(names, NAMES, strict=True)]
  (root / "val.txt").write_text("\n".join(rows))
  return Made(root, "val.txt", root / "val.txt")


def make_jsonl(root):
  first = {"root": ".", "class_names": list(NAMES), "category_ids": []}
  rows = [json.dumps(first)]
  for name, objects in pictures(root, "p").items():
    row = {"path": f"p/{name}.png", "size": [WIDTH, HEIGHT], "image_id": name}
    row |= {"boxes_px": [list(box) for box, _ in objects]}
    row |= {"labels": [label for _, label in objects]}
    rows.append(json.dumps(row | {"difficult": [False] * len(objects)}))
  (root / "t.jsonl").write_text("\n".join(rows))
  return Made(root, "t.jsonl", root / "t.jsonl")


MAKERS = {
  "csv": make_csv,
  "open_images": make_open_images,
  "coco": make_coco,
  "voc": make_voc,
  "yolo": make_yolo,
  "folders": make_folders,
  "jsonl": make_jsonl,
}


def look(form, made):
  """What the doctor makes of a set: pictures with objects, flaws, clean."""
  findings = doctor.examine(
    *(form, str(made.root), [made.split]),
    **{"class_names": (), "outside": False, "threads": 1},
  )
  (dataset,) = findings.datasets.values()
  found = {}
  for record in dataset.records:
    names = [dataset.class_names[label] for label in record.labels]
    boxes = record.boxes_px.round(3).tolist()
    found[record.path] = (
      *(record.width, record.height, record.image_label),
      sorted(zip(boxes, names, record.difficult.tolist(), strict=True)),
    )
  (clean,) = findings.clean.values()
  return found, dataset.class_names, findings.flaws, len(clean)


# Harmless


def recoded(encoding, mark=b""):
  def change(form, text, rng):
    return mark + text.encode(encoding)

  return change


def with_ends(end):
  return lambda form, text, rng: text.replace("\n", end).encode()


def shuffled(form, text, rng):
  """Another order of what has none."""
  if form == "coco":
    content = json.loads(text)
    for rows in content.values():
      rng.shuffle(rows)
    return json.dumps(content).encode()
  if form == "voc":
    return text.encode()
  first, *rest = text.split("\n")
  if form in ("yolo", "folders"):
    rest.append(first)
    first = None
  rng.shuffle(rest)
  return "\n".join([*([first] if first is not None else []), *rest]).encode()


def spaced(form, text, rng):
  """Blanks and blank lines where they mean nothing."""
  if form == "coco":
    return json.dumps(json.loads(text), indent=7).encode()
  if form in ("csv", "open_images"):
    text = text.replace(",", " , ")
  if form == "voc":
    text = re.sub(r">([^<\n]+)<", r">  \1 <", text)
  if form in ("yolo", "jsonl"):
    text = text.replace(" ", "  " if form == "yolo" else " ")
  lines = [f"  {line} \t" for line in text.split("\n")]
  if form == "csv":
    lines.insert(rng.randrange(1, len(lines)), " , ,,,,")
  elif form in ("voc", "yolo", "folders", "jsonl"):
    lines.insert(rng.randrange(1, len(lines)), "  ")
  return ("\n".join(lines).lstrip() + "\n\n").encode()


def other_suffix(form, text, rng):
  """The case of the suffix, as on systems where it does not matter."""
  return text.replace(".png", rng.choice([".PNG", ".Png"])).encode()


def with_more(form, text, rng):
  """Columns, keys and elements that say nothing of a box."""
  extra = rng.choice(["note", "rating", "author", "x-ray", "comment_1"])
  if form in ("csv", "open_images"):
    rows = list(csv.reader(io.StringIO(text)))
    place = rng.randrange(len(rows[0]) + 1)
    for n, row in enumerate(rows):
      row.insert(place, str(n) if n else extra)
    return "\n".join(map(",".join, rows)).encode()
  if form == "coco":
    content = json.loads(text)
    key = rng.choice(["images", "annotations", "categories"])
    rng.choice(content[key])[extra] = 1
    return json.dumps({**content, extra: [1]}).encode()
  if form == "voc":
    place = rng.choice(["</object>", "</annotation>", "</size>"])
    return text.replace(place, f"<{extra}>1</{extra}>{place}").encode()
  if form == "jsonl":
    return text.replace('"path"', f'"{extra}": 1, "path"').encode()
  return text.encode()


HARMLESS = {
  "mark": recoded("utf-8", b"\xef\xbb\xbf"),
  "utf-16": recoded("utf-16"),
  "utf-16-be": recoded("utf-16-be", b"\xfe\xff"),
  "crlf": with_ends("\r\n"),
  "cr": with_ends("\r"),
  "order": shuffled,
  "blanks": spaced,
  "suffix": other_suffix,
  "more": with_more,
}


@pytest.mark.parametrize("change", HARMLESS)
@pytest.mark.parametrize("form", MAKERS)
def test_harmless_changes_give_the_same_records(tmp_path, form, change):
  made = MAKERS[form](tmp_path / "set")
  text = made.file.read_text()
  wanted, names, flaws, clean = look(form, made)
  assert not flaws and clean == len(wanted) == 3
  for seed in range(5):
    content = HARMLESS[change](form, text, random.Random(seed))
    made.file.write_bytes(content)
    assert look(form, made) == (wanted, names, [], 3), content.decode("latin-1")


# Harmful


def renamed(name, rng):
  ways = [str.upper, str.capitalize, lambda s: s + "s", lambda s: s[:-1]]
  ways += [lambda s: f"{s}_2", lambda s: f"my_{s}", lambda s: s[::-1]]
  new = rng.choice([way(name) for way in ways if way(name) != name])
  return new


def rename(form, text, rng):
  """Another name for a column, key or element that is read."""
  if form == "csv":
    name = rng.choice(["image", "label", "xmin", "ymin", "xmax", "ymax"])
    head, _, rest = text.partition("\n")
    new = re.sub(rf"\b{name}\b", renamed(name, rng), head)
    return new if new.lower() == head else f"{new}\n{rest}"
  if form == "open_images":
    name = rng.choice(["ImageID", "LabelName", "XMin", "YMax", "IsGroupOf"])
    return re.sub(rf"\b{name}\b", renamed(name, rng), text)
  if form in ("coco", "jsonl"):
    names = sorted(set(re.findall(r'"(\w+)":', text)) - {"supercategory"})
    name = rng.choice(names)
    places = [m.start() for m in re.finditer(f'"{name}":', text)]
    place = rng.choice(places)
    return (
      text[:place] + f'"{renamed(name, rng)}":' + text[place + len(name) + 3 :]
    )
  name = rng.choice(
    *[["object", "name", "bndbox", "xmin", "ymax", "difficult", "size"]]
  )
  new = renamed(name, rng)
  return text.replace(f"<{name}>", f"<{new}>", 1).replace(
    f"</{name}>", f"</{new}>", 1
  )


def drop(form, text, rng):
  """An id, a class or a number that is gone."""
  if form in ("csv", "open_images"):
    lines = text.split("\n")
    n = rng.randrange(1, len(lines))
    cells = lines[n].split(",")
    needed = {"csv": range(6), "open_images": (0, 2, 4, 5, 6, 7)}[form]
    cells[rng.choice(needed)] = ""
    return "\n".join([*lines[:n], ",".join(cells), *lines[n + 1 :]])
  if form in ("coco", "jsonl"):
    key = rng.choice(
      ["id", "image_id", "category_id", "bbox", "file_name"]
      if form == "coco"
      else ["path", "size", "labels", "boxes_px", "image_id", "difficult"]
    )
    found = rng.choice(
      list(re.finditer(rf'"{key}": (\[[^\]]*\]+|[^,\]}}]+)(,\s*|)', text))
    )
    short = text[: found.start()] + text[found.end() :]
    return re.sub(r",(\s*[}\]])", r"\1", short)
  if form == "voc":
    name = rng.choice(["name", "xmin", "ymax", "bndbox"])
    return re.sub(rf"<{name}>.*?</{name}>", "", text, count=1, flags=re.S)
  lines = text.split("\n")
  n = rng.randrange(len(lines))
  words = lines[n].split(" ")
  del words[rng.randrange(len(words)) if form == "yolo" else -1]
  return "\n".join([*lines[:n], " ".join(words), *lines[n + 1 :]])


def fractions(form, text, rng):
  """Boxes as fractions of the picture, of one picture or of all."""

  def scaled(numbers):
    return [round(v / (WIDTH, HEIGHT)[n % 2], 4) for n, v in enumerate(numbers)]

  if form == "csv":
    lines = text.split("\n")
    some = rng.sample(range(1, len(lines)), rng.randrange(1, len(lines)))
    for n in some:
      *start, a, b, c, d = lines[n].split(",")
      numbers = scaled(map(float, (a, b, c, d)))
      lines[n] = ",".join([*start, *map(str, numbers)])
    return "\n".join(lines)
  if form == "coco":
    content = json.loads(text)
    rows = content["annotations"]
    for row in rng.sample(rows, rng.randrange(1, len(rows) + 1)):
      row["bbox"] = scaled(row["bbox"])
    return json.dumps(content)
  if form == "jsonl":
    lines = text.split("\n")
    n = rng.randrange(1, len(lines))
    row = json.loads(lines[n])
    row["boxes_px"] = [scaled(box) for box in row["boxes_px"]]
    return "\n".join([*lines[:n], json.dumps(row), *lines[n + 1 :]])
  numbers = iter(scaled(map(float, re.findall(r"m..>(\d+)<", text))))
  return re.sub(r"(m..>)\d+<", lambda m: f"{m[1]}{next(numbers)}<", text)


@pytest.mark.parametrize(
  ("form", "change"),
  [(form, rename) for form in ("csv", "open_images", "coco", "voc", "jsonl")]
  + [(form, drop) for form in MAKERS]
  + [(form, fractions) for form in ("csv", "coco", "voc", "jsonl")],
)
def test_harmful_changes_are_never_without_a_flaw(tmp_path, form, change):
  made = MAKERS[form](tmp_path / "set")
  text = made.file.read_text()
  for seed in range(40):
    changed = change(form, text, random.Random(seed))
    assert changed != text
    made.file.write_text(changed)
    try:
      _, _, flaws, _ = look(form, made)
    except ValueError as error:  # the whole file cannot be read
      assert str(made.root) in str(error)
    else:
      assert flaws, changed
