"""Cameras and poses: hand-computed cases, and geometry that must hold for any scene."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from homolog.core.camera import Camera, RelativePose, epipolar_distance, fundamental
from homolog.core.coords import apply_affine, compose_affines, invert_affine, resize_affine, shift_affine
from homolog.core.errors import ShapeError
from homolog.core.image import Image, resize

ANGLE = st.floats(-1.0, 1.0)
SHIFT = st.floats(-2.0, 2.0)


def _camera(focal: float = 500.0, size: tuple[int, int] = (480, 640)) -> Camera:
    height, width = size
    K = [[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]]
    return Camera(K=torch.tensor(K, dtype=torch.float64))


@st.composite
def poses(draw: st.DrawFn) -> RelativePose:
    skew = torch.zeros(3, 3, dtype=torch.float64)
    skew[2, 1], skew[0, 2], skew[1, 0] = draw(ANGLE), draw(ANGLE), draw(ANGLE)
    t = torch.tensor([draw(SHIFT), draw(SHIFT), draw(SHIFT)], dtype=torch.float64)
    return RelativePose(R=torch.matrix_exp(skew - skew.T), t=t)


def _scene(count: int = 20) -> Tensor:
    generator = torch.Generator().manual_seed(count)
    points = torch.rand(count, 3, generator=generator, dtype=torch.float64) * 2 - 1
    return points + torch.tensor([0.0, 0.0, 8.0])


def test_the_principal_point_of_a_centred_512_image_is_its_middle() -> None:
    camera = _camera(size=(512, 512))
    assert camera.project(torch.tensor([0.0, 0.0, 3.0]).double()).tolist() == [255.5, 255.5]


def test_projection_by_hand() -> None:
    # 100 * (1, -2) / 4 + the centre
    camera = Camera(K=torch.tensor([[100.0, 0, 50], [0, 100, 40], [0, 0, 1]]))
    assert camera.project(torch.tensor([[1.0, -2.0, 4.0]])).tolist() == [[75.0, -10.0]]


def test_rays_are_the_inverse_of_projection() -> None:
    camera, points = _camera(), _scene()
    rays = camera.rays(camera.project(points))
    assert torch.allclose(rays * points[:, 2:], points, atol=1e-9)
    assert torch.allclose(rays[:, 2], torch.ones(20).double())


@given(x=st.floats(-50, 50), y=st.floats(-50, 50), height=st.integers(10, 900), width=st.integers(10, 900))
def test_the_camera_of_a_cropped_and_resized_image_agrees_with_its_affine_map(
    x: float, y: float, height: int, width: int
) -> None:
    frame = compose_affines(shift_affine(x, y), resize_affine((480, 640), (height, width)))
    camera, points = _camera(), _scene()
    expected = apply_affine(invert_affine(frame), camera.project(points))
    assert torch.allclose(camera.resampled(frame).project(points), expected, atol=1e-6)


def test_the_camera_of_a_halved_image_has_its_middle_in_the_middle() -> None:
    small = resize(Image(pixels=torch.zeros(3, 512, 512)), (256, 256))
    K = _camera(focal=600, size=(512, 512)).resampled(small.to_original).K
    assert torch.allclose(K, torch.tensor([[300, 0, 127.5], [0, 300, 127.5], [0, 0, 1]]).double())


def test_resampling_keeps_the_precision_of_the_camera() -> None:
    camera = Camera(K=_camera().K.float())
    assert camera.resampled(shift_affine(1.0, 2.0)).K.dtype == torch.float32


@given(pose=poses(), other=poses())
def test_poses_compose_and_invert_like_the_motions_they_are(pose: RelativePose, other: RelativePose) -> None:
    points = _scene()
    assert torch.allclose(pose.inverse().apply(pose.apply(points)), points, atol=1e-9)
    assert torch.allclose(other.compose(pose).apply(points), other.apply(pose.apply(points)), atol=1e-9)


def test_a_pose_takes_camera_0_to_camera_1() -> None:
    quarter = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    pose = RelativePose(R=quarter, t=torch.tensor([0.0, 0.0, 5.0]))
    assert pose.apply(torch.tensor([1.0, 0.0, 0.0])).tolist() == [0.0, 1.0, 5.0]


@given(pose=poses())
def test_rays_of_the_same_point_satisfy_the_essential_matrix(pose: RelativePose) -> None:
    points = _scene()
    ray0, ray1 = points, pose.apply(points)
    residual = torch.einsum("ni,ij,nj->n", ray1, pose.essential(), ray0)
    assert residual.abs().max() < 1e-9


@given(pose=poses())
def test_pixels_of_the_same_point_satisfy_the_fundamental_matrix(pose: RelativePose) -> None:
    if pose.t.norm() < 0.1:
        return
    camera0, camera1 = _camera(500.0), _camera(700.0, (300, 200))
    points = _scene()
    F = fundamental(pose, camera0, camera1)
    moved = pose.apply(points)
    if moved[:, 2].abs().min() < 0.1:
        return
    distances = epipolar_distance(camera0.project(points), camera1.project(moved), F)
    assert max(float(distance.max()) for distance in distances) < 1e-5


def test_the_essential_matrix_of_a_sideways_step_by_hand() -> None:
    pose = RelativePose(R=torch.eye(3), t=torch.tensor([1.0, 0.0, 0.0]))
    assert pose.essential().tolist() == [[0, 0, 0], [0, 0, -1], [0, 1, 0]]


def test_epipolar_distances_by_hand() -> None:
    # A sideways step: epipolar lines are the rows, so the distance is the difference of the rows.
    F = RelativePose(R=torch.eye(3), t=torch.tensor([1.0, 0.0, 0.0])).essential()
    in0, in1 = epipolar_distance(torch.tensor([[10.0, 20.0]]), torch.tensor([[90.0, 23.0]]), F)
    assert (in0.tolist(), in1.tolist()) == ([3.0], [3.0])


def test_epipolar_distances_differ_between_the_images_by_hand() -> None:
    # F p0 = (3, 4, 5) for p0 = (0, 0), F^T p1 = (1, 0, 5) for p1 = (0, 0): |residual| = 5.
    F = torch.tensor([[0.0, 0, 3], [0, 0, 4], [1, 0, 5]])
    in0, in1 = epipolar_distance(torch.zeros(1, 2), torch.zeros(1, 2), F)
    assert in0.tolist() == [5.0]  # 5 / |(1, 0)|
    assert in1.tolist() == [1.0]  # 5 / |(3, 4)|


def test_a_degenerate_line_gives_a_number_not_nan() -> None:
    distances = epipolar_distance(torch.zeros(1, 2), torch.zeros(1, 2), torch.zeros(3, 3))
    assert all(math.isfinite(float(distance)) for distance in distances)


@pytest.mark.usefixtures("unchecked")
def test_other_shapes_are_not_cameras_or_poses() -> None:
    with pytest.raises(ShapeError, match=r"Camera: expected K \[3 3\], got \[4, 4\]"):
        Camera(K=torch.eye(4))
    with pytest.raises(
        ShapeError, match=r"RelativePose: expected R \[3 3\], t \[3\], got \[3, 3\], \[3, 1\]"
    ):
        RelativePose(R=torch.eye(3), t=torch.zeros(3, 1))
