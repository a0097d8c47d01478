"""Your own photographs, from weights that are trained already.

python -m yolo9000.main --config=experiments/photos.py
  --config.data.root=FOLDER --config.run.start_from=yolov3-tiny.weights

Tiny YOLOv2 of full width, from the first 13 layers of the program's released
tiny YOLOv3, or of any file or run that begins with them. Of their seven
convolutions the first five are held still. Beside it the same network from
scratch. Class names and priors are those of the data. FOLDER is in VOC's layout
and has the splits train and test; for others set data.train.main.format and
data.test.format, and the splits, see docs/data.md.

On voc_fruit (chanjianliu's fruit_recognition, MIT licence; apple, banana,
orange; 240 photos to train on, 60 with 117 objects to test), VOC07 AP on the
way and at the end:

                         seed  250   500   750  1,000 steps
  from the start         0    .685  .813  .823  .826
                         1    .695  .775  .796  .812
                         2    .724  .804  .818  .824
  from scratch           0    .205  .387  .503  .552
                         1    .189  .443  .558  .574
                         2    .276  .437  .504  .532

Seeds 0 and 1 from the start took 9 and 10 minutes (commits c5eb595, fd8b8fb, 2
cores of an Intel Xeon), seed 2 took 13 and from scratch 31, all layers learning
(commit 915ff0e, 2 cores of an AMD EPYC); all did other work as well. Seed 1
from scratch took 12 minutes on quiet cores; seed 2 was stopped halfway and went
on (commits 5ef2411, 3a4acfe, the same machine). From the start every object is
found; what is wrong are red apples called orange, parts of bunches of
bananas and apples that are not annotated. Tried with seed 0:

  held  steps  trained, tested at  VOC07 AP
  six   1,500  288, 320            .777 after 500, .823 after 1,000, then .803
  five  1,000  288; 288, 352, 384  .797, .790, .771
  five  1,000  288, 320            .814 with detect.class_agnostic
  six     900  320, 352            .825 with jitter .2; .808 with hue .05 and an
                                   average of .998 (commit e1cb406, AMD EPYC)

With several sizes the start gains nothing on the fruit, as in the drawn
miniature, and unlike the paper: with --config.run.image_sizes="(224,256,288,
320,352)" seeds 0, 1, 2 have .797, .822, .811, mean .810, where one size has
.826, .812, .824, mean .821 (commit 3a4acfe, 9 minutes each). Tested at 288, 352
and 384 (python -m yolo9000.evaluate --run=RUN --size=N) seed 0 has .773, .771,
.798; trained at one size .797, .790, .771, which is worse at the largest alone.

On voc_bccd (292 photos of blood cells to train on, 72 with 945 cells to test),
whose platelets are small, more layers learn, larger pictures are seen, and the
trained ones are tested at larger ones still:

python -m yolo9000.main --config=experiments/photos.py
  --config.data.root=voc_bccd --config.data.train.main.split=trainval
  --config.run.start_from=yolov3-tiny.weights
  --config.optimizer.held="('layer_00','layer_02','layer_04')"
  --config.data.augment.jitter=.2 --config.run.total_steps=900
  --config.run.image_sizes="(416,)" --config.evaluation.image_size=480
  --config.run.evaluate_every=225

                         seed  225   450   675   900 steps
  from the start         0    .660  .791  .821  .819
                         1    .678  .774  .807  .821
                         2    .702  .795  .811  .805
  from scratch           0    .073  .452  .533  .711
                         1    .420  .684  .697  .703
                         2    .249  .586  .633  .665

From the start platelets have .720, red cells .763, white cells .974, from
scratch .496, .735, .902 (seed 0). Seeds 0 and 1 from the start took 15 minutes,
seed 2 took 24 (commit bf3c305), from scratch 20 to 25 (commit 3a4acfe), on 2
cores of an AMD EPYC that did other work as well. From scratch in 14 minutes,
600 steps on the same cores nearly alone (commit 4e57c4e, evaluate_every=200):

                         seed  200   400   600 steps
  from scratch           0    .039  .454  .671
                         1    .371  .638  .666
                         2    .331  .589  .612

Tried with seed 0: 1,300 steps .813 tested at 416, .830 at 480, .814 at 512
(after 975 steps .811 at 416); 600 steps .737 at 416; as the fruit, with six
held, .538.

Arguments, as in --config=experiments/photos.py:seeds=3
  row=NAME   this row alone.
  seed=N     this seed alone; seeds=N that many, with means and spreads.
"""

from ml_collections import ConfigDict

from experiments import base
from yolo9000.boxes import priors
from yolo9000.tables import plan
from yolo9000.tables.plan import row

SIZE, LARGER = 288, 320


def get_config(argument: str = "") -> ConfigDict:
  """The complete config: from the start and, beside it, from scratch."""
  chosen = plan.arguments(argument, ("row=", "seed=", "seeds="))
  config = base.detector(class_names=())  # those of the data
  config.name = "photos"
  config.paper = ""
  config.table = "alternatives"
  config.setting = "tiny YOLOv2"
  config.seeds = (0,)
  config.only_row = ""  # all
  config.data.root = ""  # must be given: --config.data.root=FOLDER
  config.data.priors = 5
  config.data.train.main = base.source("voc", split="train", weight=1.0)
  config.data.test = base.source("voc", split="test")
  config.data.augment.update(jitter=0.3, hue=0.02)
  base.transfer(config, learning=2)
  config.task.network.priors = priors.VOC  # until the data are known
  config.task.loss.prior_pull_images = 0
  config.schedule.update(rate=1e-3, burn_in_steps=30)
  config.run.update(
    total_steps=1000,
    image_sizes=(SIZE,),
    evaluate_every=250,
  )
  config.evaluation.update(image_size=LARGER, batch_size=8)
  scratch = {
    "run.start_from": "",
    "run.start_layers": 0,
    "optimizer.held": (),
  }
  config.rows = (
    row("from the start"),
    row("from scratch", None, scratch, on="base"),
  )
  plan.select(config, chosen)
  return config
