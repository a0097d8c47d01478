"""YOLOv2 on a PASCAL VOC folder of one's own, from scratch.

python -m yolo9000.main --config=experiments/voc.py --config.data.root=FOLDER

As it stands it is for BCCD, blood cells of three classes (MIT licence,
Shenggan's BCCD_Dataset; 292 pictures to train on, 72 to test): a quarter of the
paper's width, 320 pixels, 20,000 pictures seen. On 2 cores (x86-64, no GPU) it
took 18 minutes, with other jobs beside it, and ended at VOC07 AP .809 (RBC
.777, WBC .984, platelets .667), VOC10 AP .824. On the way, step and VOC07 AP:
500 .54, 1000 .74, 1500 .75, 2000 .78, 2500 .77, 3000 .78, 4000 .80, 4500 .80.
Measured at commit 3ecc569, seed 0. (At c171856, before convolutions became
matrix products on CPU, it took 12 minutes and ended at .797.)

For other classes change class_names, then the priors by the command below; for
larger data raise total_steps. For other formats, several data sets and maps of
class names see "Your own data" in the README.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
  """The complete config."""
  config = ConfigDict()
  config.name = "voc"
  source = dict(format="voc", root="", class_names=(), map=(), outside=False)
  config.data = dict(
    root="../shared/data/voc_bccd",  # the roots of the data sets begin here
    train=dict(main=dict(source, split="trainval", weight=1.0)),
    test=dict(source, split="test"),
    class_names=("RBC", "WBC", "Platelets"),
    max_objects=30,
    train_on_difficult=False,
    geometry="crop",
    jitter=0.15,
    hue=0.02,
    saturation=1.3,
    exposure=1.3,
    flip=True,
    min_side=0.005,
    resize="stretch",
    broken_share=0.0,  # of pictures that cannot be read; 0: they are errors
    num_threads=2,
    num_processes=0,
  )
  config.task = dict(
    model="yolov2",
    # python -m yolo9000.priors --config=experiments/voc.py --k=3
    # Three: cells differ in size by class, and more priors of nearly one shape
    # only compete for the same objects.
    priors=((0.66, 0.85), (1.66, 2.12), (3.32, 3.99)),
    network="darknet19",
    location="direct",
    passthrough="paper",
    program_reorg=False,
    width=0.25,
    dtype="float32",
    norm_momentum=0.95,
    norm_epsilon=1e-5,
    norm_axis="",
    program_norm=False,
    class_error="softmax",
    tree="",  # a .tree file whose nodes are the classes
    weights=dict(coord=1.0, objectness=5.0, background=1.0, label=1.0),
    ignore_iou=0.6,
    small_box_weight=True,
    prior_pull=0.01,
    prior_pull_images=0,
    rescore=True,
    match_predicted_shape=False,
    slot_rule="none",  # there are no pictures with a label alone
    objectness_rule="paper",
    label_warm_up_images=0,
    class_agnostic_nms=False,
    iou_threshold=0.45,
    score_threshold=0.005,
    max_candidates=300,
    max_detections=100,
    max_cells=0,
    metric="VOC07 AP",
    groups={},
  )
  config.optimizer = dict(
    name="adamw",
    momentum=0.9,
    weight_decay=5e-4,
    clip_norm=0.0,
    average=0.998,
  )
  config.schedule = dict(
    name="cosine",
    rate=5e-3,
    burn_in_steps=100,
    burn_in_power=1.0,
    at=(),
    factors=(),
    power=4.0,
  )
  config.run = dict(
    seed=0,
    start_from="",  # a run's folder or a .weights file, see model.read_start
    start_cfg="",
    total_steps=5000,
    batch_size=4,
    image_sizes=(320,),
    resize_every=10,
    epoch_images=0,  # what --dry-run calls an epoch; 0: nothing
    subdivisions=1,  # of a batch, see train.train_step
    spmd="pmap",
    log_every=100,
    checkpoint_every=1000,
    evaluate_every=500,
  )
  config.evaluation = dict(classes=(), image_size=320, batch_size=8)
  config.paper = ""
  config.rows = ()
  return config
