"""Whether a wheel has every file of the package and its experiments, no other.

python .ci/wheel_content.py WHEEL SOURCE
"""

import sys
import zipfile
from pathlib import Path


def main(wheel: str, source: str) -> None:
  """Exits with what is missing, or there too much."""
  with zipfile.ZipFile(wheel) as file:
    names = set(file.namelist())
  about = {name for name in names if ".dist-info/" in name}
  folders = (Path(source, name) for name in ("yolo9000", "experiments"))
  files = {
    str(path.relative_to(source))
    for folder in folders
    for path in folder.rglob("*")
    if path.is_file()
  }
  wrong = sorted(files ^ (names - about))
  ends = {name.partition("/")[2] for name in about}
  for needed in ("licenses/LICENSE", "entry_points.txt"):
    if needed not in ends:
      wrong.append(needed)
  if wrong:
    sys.exit(f"{wheel}: missing, or there too much: {', '.join(wrong)}")


if __name__ == "__main__":
  main(*sys.argv[1:])
