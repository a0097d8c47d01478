"""Trees of classes: python -m yolo9000.wordtree COMMAND

build   a .tree from WordNet's hypernyms and a list of synsets, from a table
        child,parent, or from Open Images' hierarchy
check   what is wrong with a .tree or a table, by line; --repair writes it in a
        good order
show    a tree, or what is below a node, as text or as a drawing
map     proposes a node for each class name, for a person to confirm; the
        result is the `map` of a data set
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

from yolo9000 import command_line
from yolo9000.files import FileError, read_list
from yolo9000.wordtree import TreeError, build, drawing
from yolo9000.wordtree import files as tree_files
from yolo9000.wordtree import names as node_names


def main(argv: list[str] | None = None) -> int:
  """The command line."""
  parser = command_line.parser("yolo9000.wordtree", __doc__)
  commands = parser.add_subparsers(required=True, metavar="COMMAND")

  one = commands.add_parser("build", help="a .tree from something else")
  one.add_argument("source", choices=["wordnet", "csv", "open_images"])
  one.add_argument("file", help="hypernyms, table or hierarchy")
  one.add_argument("tree", help="the .tree to write")
  one.add_argument("--labels", help="wordnet: file with a synset on each line")
  one.add_argument(
    "--contract",
    action="store_true",
    help="csv: leave out nodes with one child that --labels does not have",
  )
  one.set_defaults(run=_build)

  one = commands.add_parser("check", help="what is wrong with a tree")
  one.add_argument("file", help=".tree or .csv")
  one.add_argument("--repair", help="the .tree to write, in a good order")
  one.set_defaults(run=_check)

  one = commands.add_parser("show", help="a tree as text or drawing")
  one.add_argument("tree", help=".tree")
  one.add_argument("node", nargs="?", help="id or name; none: all")
  one.add_argument("--names", help="words.txt, or a name for each node")
  one.add_argument("--depth", type=int, default=4, help="levels to show")
  one.add_argument("--out", help="file to draw to, .svg or .png")
  one.set_defaults(run=_show)

  one = commands.add_parser("map", help="proposes nodes for class names")
  one.add_argument("tree", help=".tree")
  one.add_argument("classes", help="file with a class name on each line")
  one.add_argument("out", help="the .csv to write: class,node")
  one.add_argument("--names", help="words.txt, or a name for each node")
  one.set_defaults(run=_map)

  args = parser.parse_args(argv)
  try:
    return args.run(args)
  except (TreeError, FileError, OSError) as error:
    print(error, file=sys.stderr)
    return 2


def _build(args: argparse.Namespace) -> int:
  labels = read_list(args.labels) if args.labels else []
  if args.source == "wordnet":
    if not labels:
      raise TreeError(0, "wordnet needs --labels, a file of synsets")
    hypernyms = build.read_hypernyms(args.file)
    try:
      tree = build.from_hypernyms(hypernyms, labels)
    except TreeError as error:
      raise FileError(
        f"{args.labels}:{error.node + 1}: {error}; expected a synset, such as "
        f"{next(iter(hypernyms))}, on each line"
      ) from None
  elif args.source == "open_images":
    tree = build.read_open_images(args.file)
  else:
    parents = build.read_csv(args.file)
    if args.contract:
      parents = build.contracted(parents, labels, without_root=False)
    tree = build.ordered(parents)
  tree_files.write_tree(args.tree, tree)
  leaves = sum(group < 0 for group in tree.child_group)
  print(
    f"{args.tree}: {len(tree.ids)} nodes, {tree.num_groups} groups of "
    f"siblings, {leaves} leaves"
  )
  return 0


def _check(args: argparse.Namespace) -> int:
  parents, flaws = build.check(args.file)
  for line, message in flaws:
    print(f"{args.file}:{line}: {message}")
  print(f"{args.file}: {len(parents)} nodes, {len(flaws)} flaws")
  if args.repair:
    tree_files.write_tree(args.repair, build.ordered(parents))
    print(f"{args.repair}: the nodes in a good order")
  return 1 if flaws else 0


def _show(args: argparse.Namespace) -> int:
  tree = tree_files.read_tree(args.tree)
  names = node_names.read(args.names, tree) if args.names else {}
  top = None
  if args.node:
    top = node_names.find(tree, names, args.node)
  if args.depth < 1:
    raise TreeError(0, f"--depth is {args.depth}; it must be at least 1")
  text = list(node_names.lines(tree, names, top=top, depth=args.depth))
  if args.out:
    if Path(args.out).suffix not in (".svg", ".png"):
      raise TreeError(0, f"--out is {args.out}; expected .svg or .png")
    drawing.draw(Path(args.out), text)
    print(f"{args.out}: {len(text)} nodes")
  else:
    print("\n".join(text))
  return 0


def _map(args: argparse.Namespace) -> int:
  tree = tree_files.read_tree(args.tree)
  names = node_names.read(args.names, tree) if args.names else {}
  classes = read_list(Path(args.classes))
  found = node_names.propose(classes, tree, names)
  with Path(args.out).open("w", newline="") as file:
    writer = csv.writer(file)
    for name, nodes in found.items():
      writer.writerow([name, nodes[0] if nodes else "?"])
  for name, nodes in found.items():
    if len(nodes) != 1:
      several = ", ".join(f"{n} ({node_names.called(n, names)})" for n in nodes)
      print(f"{name}: {several or 'no node has this name'}")
  print(
    f"{args.out}: {sum(len(n) == 1 for n in found.values())} of {len(found)} "
    f"classes have one node, {sum(not n for n in found.values())} have none "
    f'and are written as "?", which no training takes: choose by hand'
  )
  return 0 if all(found.values()) else 1


if __name__ == "__main__":
  sys.exit(main())
