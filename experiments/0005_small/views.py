"""Views of photos, stereo pairs and panoramas with exact truth: homographies and camera poses.

Pixels are (x, y) with integers at pixel centres. Poses take points of camera 0 to camera 1.
"""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from homolog.core.homography import homography_of

BOARD = (9, 6)
"""Inner corners of the chessboard of OpenCV's stereo photos."""


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Return the rotation [3 3] that turns a camera (x right, y down, z ahead) by angles in degrees.

    Positive yaw looks right, positive pitch looks up, and positive roll turns the camera clockwise.
    """
    turns = [(1, yaw), (0, pitch), (2, roll)]
    matrices = [cv2.Rodrigues(np.radians(angle) * np.eye(3)[axis])[0] for axis, angle in turns]
    return matrices[0] @ matrices[1] @ matrices[2]


def drawn_homography(
    rng: np.random.Generator, size: tuple[int, int], *, turn: float, zoom: float, shift: float
) -> np.ndarray:
    """Draw a map [3 3] from pixels of a photo to pixels of a view of the same size.

    Args:
        rng: random generator.
        size: (height, width) of both.
        turn: largest turn, degrees.
        zoom: largest factor by which the view is larger or smaller.
        shift: largest movement of a corner in x and in y, as a fraction of the sides.
    """
    height, width = size
    corners = np.array([[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]], dtype=np.float64)
    centre = corners.mean(axis=0)
    angle, factor = np.radians(rng.uniform(-turn, turn)), zoom ** rng.uniform(-1, 1)
    turned = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = centre + factor * (corners - centre) @ turned.T
    return homography_of(corners, moved + rng.uniform(-shift, shift, (4, 2)) * (width, height))


def warped(photo: np.ndarray, H: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the view [H W 3] of a photo through a homography; black where the photo ends.

    It is sampled at twice the resolution and averaged, so that a smaller view has no aliasing.
    """
    height, width = size
    double = np.array([[2, 0, 0.5], [0, 2, 0.5], [0, 0, 1]])  # integer = pixel centre
    large = cv2.warpPerspective(photo, double @ H, (2 * width, 2 * height), flags=cv2.INTER_LINEAR)
    return cv2.resize(large, (width, height), interpolation=cv2.INTER_AREA)


def panorama_crop(
    panorama: np.ndarray, R: np.ndarray, field_of_view: float, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the perspective view of an equirectangular panorama, and its intrinsics [3 3].

    Args:
        panorama: [H W 3]; its centre is the axis (0, 0, 1), longitude grows to the right.
        R: [3 3] takes directions of the view to directions of the panorama.
        field_of_view: horizontal, degrees.
        size: (height, width) of the view.
    """
    height, width = size
    focal = width / 2 / np.tan(np.radians(field_of_view) / 2)
    K = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    rays = np.stack((x, y, np.ones_like(x)), axis=-1) @ np.linalg.inv(K).T @ R.T
    rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
    rows, columns = panorama.shape[:2]
    at_x = (np.arctan2(rays[..., 0], rays[..., 2]) / (2 * np.pi) + 0.5) * columns - 0.5
    at_y = (np.arcsin(rays[..., 1]) / np.pi + 0.5) * rows - 0.5
    maps = at_x.astype(np.float32), at_y.astype(np.float32)
    return cv2.remap(panorama, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP), K


def directions(longitude_latitude: np.ndarray) -> np.ndarray:
    """Return unit vectors [N 3] of longitudes and latitudes [N 2] in degrees; latitude grows downwards."""
    longitude, latitude = np.radians(longitude_latitude).T
    return np.stack(
        (np.cos(latitude) * np.sin(longitude), np.sin(latitude), np.cos(latitude) * np.cos(longitude)), axis=1
    )


def turned_camera(
    photo: np.ndarray, K: np.ndarray, turn: np.ndarray, pose: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Turn the second camera of a pair about its centre: a homography of its photo, and an exact new pose.

    Args:
        photo: [H W 3] of camera 1.
        K: [3 3] its intrinsics, which stay.
        turn: [3 3] takes directions of the new camera to the old one.
        pose: R [3 3] and t [3] from camera 0 to camera 1.

    Returns:
        The new photo, R and t.
    """
    R, t = pose
    view = warped(photo, K @ turn.T @ np.linalg.inv(K), photo.shape[:2])
    return view, turn.T @ R, turn.T @ t


def calibrated_stereo(folder: Path) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], list[np.ndarray]]:
    """Calibrate OpenCV's 13 stereo photos of a room (`left01.jpg`, `right01.jpg`, ...) from the chessboard in them.

    Both cameras stay where they are while a person moves the board; the two photos of a pair were taken at once.

    Returns:
        Undistorted photos (left, right) by number, and K0, K1 [3 3], R [3 3], t [3] (squares of the board).
    """
    board = np.zeros((BOARD[0] * BOARD[1], 3), np.float32)
    board[:, :2] = np.mgrid[: BOARD[0], : BOARD[1]].T.reshape(-1, 2)
    photos: dict[str, list[np.ndarray]] = {}
    corners: list[list[np.ndarray]] = []
    for left in sorted(folder.glob("left[0-9][0-9].jpg")):
        right = left.with_name(left.name.replace("left", "right"))
        pair = [np.asarray(Image.open(path).convert("L")) for path in (left, right)]
        found = [cv2.findChessboardCornersSB(photo, BOARD) for photo in pair]
        photos[left.stem[-2:]] = pair
        if all(ok for ok, _ in found):
            corners.append([each for _, each in found])
    height, width = next(iter(photos.values()))[0].shape
    boards = [board] * len(corners)
    cameras = [
        cv2.calibrateCamera(boards, [each[side] for each in corners], (width, height), None, None)[1:3]
        for side in (0, 1)
    ]
    (K0, bent0), (K1, bent1) = cameras
    lefts, rights = ([each[side] for each in corners] for side in (0, 1))
    error, *_, R, t, _, _ = cv2.stereoCalibrate(
        boards, lefts, rights, K0, bent0, K1, bent1, (width, height), flags=cv2.CALIB_FIX_INTRINSIC
    )
    if error > 0.5:
        raise ValueError(f"expected a stereo calibration below 0.5 px, got {error:.2f} px")
    straight: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for number, (left, right) in photos.items():
        flat0, flat1 = cv2.undistort(left, K0, bent0), cv2.undistort(right, K1, bent1)
        straight[number] = np.stack((flat0,) * 3, axis=2), np.stack((flat1,) * 3, axis=2)
    return straight, [K0, K1, R, t[:, 0]]
