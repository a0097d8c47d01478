"""The detectors: each one file that reads like its paper."""
