#!/bin/sh
# Make all sets of this experiment: experiments/0002_matcha/generate.sh PHOTOS OUT
# PHOTOS is what experiments/training_photos/collect.py makes. About four minutes on one core.
set -e
photos=$1 out=$2
h="uv run homolog generate"
$h geometric --count 160 --size 256 --seed 21 --out "$out/scenes" turn=60 "overlap=[0.25,0.8]"
$h homography --photos "$photos/train" --count 480 --seed 22 --out "$out/photos" "size=[256,320]" displacement=70
$h semantic --photos "$photos/train" --count 320 --size 256 --seed 23 --out "$out/semantic" turn=70
$h homography --photos "$photos/heldout" --split test --count 10 --seed 31 --out "$out/photos_test" "size=[480,640]" displacement=120
$h semantic --photos "$photos/heldout" --split test --count 24 --size 256 --seed 32 --out "$out/semantic_test" turn=70
$h geometric --split test --count 20 --size 384 --seed 33 --out "$out/scenes_test" turn=60 "overlap=[0.25,0.8]"
$h video --split test --count 3 --size 256 --seed 34 --out "$out/video_test" frames=12 tracks=96
