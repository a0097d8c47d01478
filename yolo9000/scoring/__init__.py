"""What detections are worth, in the figures of VOC, COCO and ImageNet."""
