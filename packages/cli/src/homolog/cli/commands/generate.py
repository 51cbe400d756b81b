"""`homolog generate`: generate synthetic pairs or videos with exact correspondences."""

import argparse
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from homolog.cli.commands._shared import add_options, add_words, check_settings, needs_extra, positive
from homolog.cli.console import FINE, INTERRUPTED, loading, progress_bar, say
from homolog.core.errors import ConfigError, did_you_mean

HELP = "generate synthetic pairs or videos with exact correspondences"

USAGE = "homolog generate KIND --count N [KEY=VALUE ...] [options]"

EXAMPLES = """\
examples:
  homolog generate semantic --preview
      a picture of the first pairs, before many are generated
  homolog generate semantic --count 10000 --size 256 --out data/synth_semantic --workers 2 --seed 7
      10,000 pairs of synthetic animals and objects: two instances of one category, with dense correspondences
  homolog generate geometric --count 1000 --size 480x640 turn=60
      two views of synthetic scenes, with depth and pose; KEY=VALUE changes settings of the source
  homolog generate homography --photos photos/ --count 1000
      homographies of your own photos
  homolog generate semantic --count 500 --format spair --out data/synth_spair
      the directory layout of SPair-71k, for code that only reads that; --format tapvid for videos

kinds:
  semantic     two instances of one category            geometric    two views of one scene
  homography   a photo and a homography of it           video        moving objects, with tracks
  aligned      one view in two textures, warped         splat        two views of a Gaussian scene
  mesh         two deformations of one of your meshes: root=FOLDER

output, in OUT/:
  dataset.json         the settings that determine every byte, and their SHA-256
  shard-000000.tar     plain tar files; for each pair KEY.0.jpg, KEY.1.jpg, KEY.grid01.png and KEY.grid10.png
                       (16 bits: x above y, in 1/64 px; 65535: unknown), depth and masks if known, KEY.json
  shard-000000.json    index of the tar: position, size and SHA-256 of every file
Read them in Python with homolog.synthetic.shards.reading.ShardedPairs("OUT")[0] or ShardedVideos("OUT")[0].

An interrupted run resumes when the same command is run again. The bytes depend on the settings, not on the
number of workers. A folder with shards of other settings is not overwritten. "homolog data verify OUT"
verifies the shards.
"""

RENAMED = {"--as": "--format", "--pictures": "--image-format", "--force": "--overwrite"}

PREVIEW, SHOWN = "preview.png", 6
"""The preview file, and the number of samples in it unless `--count` is smaller."""

FORMATS = {"spair": "semantic", "tapvid": "video"}
"""Formats of other data sets, and the kind of sample that each of them can store."""

PATHS = ("photos", "root", "scenes")
"""Settings that are paths of folders."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("kind", metavar="KIND", help="what to generate; see below")
    add_words(parser)
    parser.add_argument(
        "--count",
        type=positive(int),
        metavar="N",
        help="number of pairs or videos (default: 1000; 200 for splat, 100 for video)",
    )
    parser.add_argument(
        "--size", type=size, metavar="PIXELS", help="image size: 256, or HEIGHTxWIDTH such as 480x640"
    )
    parser.add_argument("--seed", type=int, metavar="K", help="random seed")
    parser.add_argument(
        "--split",
        choices=("trn", "val", "test"),
        help="samples of different splits differ even with the same seed",
    )
    parser.add_argument(
        "--photos", type=Path, metavar="FOLDER", help="your photos, to be warped or used as backgrounds"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="output folder (default: data/synthetic_KIND)"
    )
    parser.add_argument(
        "--workers", type=positive(int), default=1, metavar="W", help="processes (default: %(default)s)"
    )
    parser.add_argument(
        "--per-shard",
        type=positive(int),
        default=256,
        metavar="N",
        help="samples per tar file (default: %(default)s)",
    )
    parser.add_argument(
        "--image-format",
        choices=("jpg", "png"),
        default="jpg",
        help="JPEG with quality 95 (default) or lossless PNG",
    )
    parser.add_argument(
        "--format",
        choices=("shards", "spair", "tapvid"),
        default="shards",
        help="tar shards, SPair-71k layout (semantic pairs), or TAP-Vid files (videos) (default: %(default)s)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace shards of other settings in OUT")
    parser.add_argument(
        "--preview", action="store_true", help="only write OUT/preview.png with the first samples"
    )
    add_options(parser, "configs")


def size(text: str) -> int | list[int]:
    """Parse an image size.

    >>> size("256"), size("480x640")
    (256, [480, 640])
    """
    sides = [int(side) for side in text.split("x")]
    if len(sides) > 2 or min(sides) < 1:
        raise ValueError(text)
    return sides[0] if len(sides) == 1 else sides


def run(arguments: argparse.Namespace) -> int:
    """Generate samples.

    Raises:
        HomologError: wrong settings, no photos, or a folder that cannot be used; no incomplete files are left.
    """
    config = _composed(arguments)
    out = arguments.out or Path("data") / f"synthetic_{arguments.kind}"
    if arguments.kind != FORMATS.get(arguments.format, arguments.kind):
        raise ConfigError(
            f"--format {arguments.format} stores {FORMATS[arguments.format]} samples, got {arguments.kind}; "
            "remove --format"
        )
    with needs_extra("synthetic", "homolog generate"):
        import homolog.synthetic  # noqa: F401  # pyright: ignore[reportUnusedImport]
    try:
        if arguments.preview:
            return _preview(config, arguments, out)
        if arguments.format == "spair":
            return _write_spair(config, out)
        if arguments.format == "tapvid":
            return _write_tapvid(config, out)
        return _write_shards(config, arguments, out)
    except KeyboardInterrupt:
        resumes = arguments.format == "shards" and not arguments.preview
        say(
            f"homolog: interrupted{'; the same command resumes after the finished shards' if resumes else ''}"
        )
        return INTERRUPTED


def _composed(arguments: argparse.Namespace) -> dict[str, Any]:
    from homolog.zoo.build import resolved
    from homolog.zoo.compose import compose, configs_folder

    settings = check_settings(arguments.words, "turn=60")
    folder = configs_folder(arguments.configs)
    kinds = sorted(file.stem for file in (folder / "source").glob("*.yaml"))
    if arguments.kind not in kinds:
        raise ConfigError(f"no kind named {arguments.kind!r}{did_you_mean(arguments.kind, kinds)}")
    overrides = (f"source@_global_={arguments.kind}", *settings)
    config = compose("generate", overrides, configs=arguments.configs)
    for name in ("count", "size", "seed", "split"):
        if getattr(arguments, name) is not None:
            config[name] = getattr(arguments, name)
    if arguments.photos is not None:
        if "photos" not in config:
            raise ConfigError(f"{arguments.kind} takes no photos; remove --photos")
        config["photos"] = str(arguments.photos)
    config = resolved(config)
    # Absolute paths, so that the shards can be verified from another folder.
    paths = {name: Path(config[name]) for name in PATHS if isinstance(config.get(name), str)}
    return {**config, **{name: str(path.expanduser().resolve()) for name, path in paths.items()}}


def _write_shards(config: dict[str, Any], arguments: argparse.Namespace, out: Path) -> int:
    with loading():
        from homolog.synthetic.shards.writing import write_shards
        from homolog.zoo.build import build

    begin = time.perf_counter()
    with progress_bar(arguments.kind, config.get("count")) as progress:
        written = write_shards(
            partial(build, config),
            folder=out,
            config=config,
            per_shard=arguments.per_shard,
            pictures=arguments.image_format,
            workers=arguments.workers,
            force=arguments.overwrite,
            progress=progress,
        )
    seconds = time.perf_counter() - begin
    total = written.samples + written.kept
    kept = f", {written.kept:,} of them from earlier runs" if written.kept else ""
    print(f"{total:,} samples{kept}, in {written.shards:,} shards in {out}")
    rate = f", {written.samples / seconds:.1f} samples/s" if written.samples else ""
    print(f"{_bytes(written.size)}, {_bytes(written.size / total)} a sample; {seconds:.1f} s{rate}")
    say(f"homolog data verify {out} verifies them")
    return FINE


def _write_spair(config: dict[str, Any], out: Path) -> int:
    with loading():
        from homolog.synthetic.export import write_spair
        from homolog.zoo.build import build

        source = build(config)
    with progress_bar("semantic", config.get("count")) as progress:
        pairs = write_spair(source, out, split=config["split"], progress=progress)
    print(f"{pairs:,} pairs in SPair-71k layout in {out}")
    return FINE


def _write_tapvid(config: dict[str, Any], out: Path) -> int:
    with loading():
        from homolog.synthetic.export import write_tapvid
        from homolog.zoo.build import build

        source: Sequence[Any] = build(config)
    with progress_bar("video", len(source)) as progress:
        for index in range(len(source)):
            write_tapvid(source[index], out / f"{index:06d}.npz")
            progress(index + 1)
    print(f"{len(source):,} videos in TAP-Vid format in {out}, one file each")
    return FINE


def _preview(config: dict[str, Any], arguments: argparse.Namespace, out: Path) -> int:
    config = {**config, "count": min(config.get("count", SHOWN), SHOWN)}
    with loading():
        from homolog.cli.figures.samples import draw_preview
        from homolog.core.atomic import write_bytes
        from homolog.zoo.build import build

        source: Sequence[Any] = build(config)
    with progress_bar(arguments.kind, len(source)) as progress:
        samples: list[Any] = []
        for index in range(len(source)):
            samples.append(source[index])
            progress(index + 1)
    settings = ", ".join(
        f"{name} {value}" for name, value in config.items() if name != "_target_" and value is not None
    )
    write_bytes(
        out / PREVIEW,
        draw_preview(samples, title=f"{arguments.kind}: samples and their exact truth", subtitle=settings),
    )
    print(f"saved {out / PREVIEW}")
    return FINE


def _bytes(size: float | int) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.2f} GB"
