"""Feature extractors and keypoint detectors; each file is one of them."""
