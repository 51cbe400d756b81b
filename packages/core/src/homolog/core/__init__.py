"""The language of homolog: images, features, keypoints, matches, fields, tracks, and their coordinates."""
