"""The colour of every pixel: patterns on canonical coordinates, light, and the coverage of each surface in a pixel.

Places to be coloured are gathered first and coloured in batches that stay in the cache. Angles and powers are
polynomials of our own: faster than those of the system's library, and the same bits wherever they run.

This is one long file because its functions call each other: what numba keeps on disk is renewed when a function's
own file changes, not when that of a function it calls does.
"""

import numpy as np

from homolog.synthetic.compiled import Real, compiled, inlined

NOISE = 32
"""Period of the noise, in its own units; a power of 2."""

SIDE = 256
"""Height and width of an image that is used as a texture; a power of 2."""

LEVELS = 6
"""How often such an image is halved."""

_BATCH = 256
_LAST = NOISE - 1


@compiled
def draw(
    centre: np.ndarray,
    smooth: np.ndarray,
    corner: tuple[int, int],
    fine: np.ndarray,
    fine_inverse: np.ndarray,
    faces: np.ndarray,
    attributes: np.ndarray,
    sheet: np.ndarray,
    row_of_face: np.ndarray,
    rows: np.ndarray,
    light: np.ndarray,
    rays: np.ndarray,
    noise: np.ndarray,
    texels: np.ndarray,
    picture: np.ndarray,
) -> None:
    """Draw surfaces over a picture.

    Where a surface is smooth the centre of a pixel is coloured. Elsewhere each surface among its four finer
    samples is coloured once and weighted by its coverage.

    Args:
        centre: [H W] triangle at the centre of each pixel, -1 for none.
        smooth: [h w] pixels of a window without an edge.
        corner: row and column of the picture where the window begins; nothing is drawn outside of it.
        fine: [2h 2w] triangle at each sample.
        fine_inverse: [2h 2w] inverse depth there.
        faces: [F 3] vertices of the triangles.
        attributes: [V 9 or 12] homogeneous pixel, normal, canonical position, and how much each canonical axis
            counts in the projection of images, if there are any.
        sheet: [F] surfaces with an edge between them differ in it.
        row_of_face: [F] index into `rows`.
        rows: [P 26] finishes: columns of `homolog.synthetic.rendering.look.row`, then the index of an image or -1, and the
            canonical size of a pixel at depth 1.
        light: [4 3] direction of the sun, colours of sun, sky and ground.
        rays: [3 3] the direction through pixel (x, y) is rays @ (x, y, 1).
        noise: [NOISE^3] random values in [-1, 1].
        texels: [T M 3] images, each followed by its halved ones.
        picture: [H W 3] is drawn over.
    """
    place, work = np.empty((2, _BATCH), np.int64), np.empty((18, _BATCH), np.float32)
    width = centre.shape[1]
    flat, count = picture.reshape(-1, 3), 0
    for y in range(corner[0], corner[0] + fine.shape[0] // 2):
        for x in range(corner[1], corner[1] + fine.shape[1] // 2):
            v, u, f = 2 * (y - corner[0]), 2 * (x - corner[1]), centre[y, x]
            even = smooth[y - corner[0], x - corner[1]]
            if not even and fine[v, u] & fine[v, u + 1] & fine[v + 1, u] & fine[v + 1, u + 1] < 0:
                continue
            if count > _BATCH - 4:
                _colour(
                    count, place, work, faces, attributes, row_of_face, rows, light, rays, noise, texels, flat
                )
                count = 0
            pixel = y * width + x
            if even:
                place[0, count], place[1, count] = f, pixel
                work[0, count], work[1, count], work[2, count] = x, y, 1
                flat[pixel, 0] = flat[pixel, 1] = flat[pixel, 2] = 0
                count += 1
                continue
            count, behind = _gather_edge(
                count, x, y, pixel, fine[v : v + 2, u : u + 2], fine_inverse[v : v + 2, u : u + 2],
                faces, attributes, sheet, place, work,
            )  # fmt: skip
            for c in range(3):
                flat[pixel, c] *= behind
    _colour(count, place, work, faces, attributes, row_of_face, rows, light, rays, noise, texels, flat)


@compiled
def _gather_edge(
    count: int,
    x: int,
    y: int,
    pixel: int,
    fine: np.ndarray,
    inverses: np.ndarray,
    faces: np.ndarray,
    attributes: np.ndarray,
    sheet: np.ndarray,
    place: np.ndarray,
    work: np.ndarray,
) -> tuple[int, Real]:
    """Add one place for each surface among four samples, and return the uncovered fraction."""
    first, behind = count, np.float32(0)
    for sample in range(4):
        down, right = sample // 2, sample % 2
        g, inverse = fine[down, right], inverses[down, right]
        if g < 0:
            behind += np.float32(0.25)
            continue
        same = first
        while same < count and (
            sheet[place[0, same]] != sheet[g]
            or abs(work[3, same] - inverse) > np.float32(0.03) * inverse
            or not _parallel(place[0, same], g, faces, attributes)
        ):
            same += 1
        if same < count:
            work[2, same] += np.float32(0.25)
            continue
        place[0, count], place[1, count] = g, pixel
        work[0, count], work[1, count] = x - 0.25 + 0.5 * right, y - 0.25 + 0.5 * down
        work[2, count], work[3, count] = 0.25, inverse
        count += 1
    return count, behind


@inlined
def _parallel(f: Real, g: Real, faces: np.ndarray, attributes: np.ndarray) -> Real:
    """Return whether the normals of two triangles differ by less than about 20 degrees."""
    one, two = faces[f, 0], faces[g, 0]
    return (
        attributes[one, 3] * attributes[two, 3]
        + attributes[one, 4] * attributes[two, 4]
        + attributes[one, 5] * attributes[two, 5]
    ) > np.float32(0.94)


@compiled
def draw_points(
    found: np.ndarray,
    row_of_point: np.ndarray,
    rows: np.ndarray,
    light: np.ndarray,
    noise: np.ndarray,
    texels: np.ndarray,
    colours: np.ndarray,
) -> None:
    """Colour points of surfaces without highlights.

    Args:
        found: [7 or 10 N] unit normal, canonical position, size of a pixel in the units of column 25, and weights
            of the projections if there are images.
        row_of_point: [N] index into `rows`.
        rows: [P 26] as for `draw`.
        light: [4 3] as for `draw`.
        noise: [NOISE^3] random values in [-1, 1].
        texels: [T M 3] images.
        colours: [N 3] is filled.
    """
    work, rays = np.zeros((18, _BATCH), np.float32), np.zeros((3, 3), np.float32)
    rays[2, 2] = 1
    for start in range(0, len(colours), _BATCH):
        count = min(_BATCH, len(colours) - start)
        for m in range(len(found)):
            work[3 + m, :count] = found[m, start : start + count]
        _colour_surfaces(count, row_of_point[start : start + count], rows, noise, texels, work)
        work[16] = 0
        _illuminate(
            count, work[0], work[1], work[3], work[4], work[5], work[16], work[17], light, rays,
            work[13], work[14], work[15],
        )  # fmt: skip
        for m in range(3):
            colours[start : start + count, m] = work[13 + m, :count]


@compiled
def _colour(
    count: int,
    place: np.ndarray,
    work: np.ndarray,
    faces: np.ndarray,
    attributes: np.ndarray,
    row_of_face: np.ndarray,
    rows: np.ndarray,
    light: np.ndarray,
    rays: np.ndarray,
    noise: np.ndarray,
    texels: np.ndarray,
    flat: np.ndarray,
) -> None:
    """Colour a batch: of `work`, 0 to 2 are given (x, y, coverage), the others are scratch space."""
    _locate(count, place[0], work[0], work[1], faces, attributes, work[3:])
    for n in range(count):
        place[0, n] = row_of_face[place[0, n]]
    _colour_surfaces(count, place[0], rows, noise, texels, work)
    _illuminate(
        count, work[0], work[1], work[3], work[4], work[5], work[16], work[17], light, rays,
        work[13], work[14], work[15],
    )  # fmt: skip
    for n in range(count):
        pixel, fraction = place[1, n], work[2, n]
        flat[pixel, 0] += fraction * work[13, n]
        flat[pixel, 1] += fraction * work[14, n]
        flat[pixel, 2] += fraction * work[15, n]


@compiled
def _locate(
    count: int,
    face: np.ndarray,
    across: np.ndarray,
    down: np.ndarray,
    faces: np.ndarray,
    attributes: np.ndarray,
    found: np.ndarray,
) -> None:
    """Interpolate at each place the unit normal, the canonical position, the depth and weights of projections."""
    for n in range(count):
        f, x, y = face[n], across[n], down[n]
        one, two, three = attributes[faces[f, 0]], attributes[faces[f, 1]], attributes[faces[f, 2]]
        x0, y0 = one[0] - x * one[2], one[1] - y * one[2]
        x1, y1 = two[0] - x * two[2], two[1] - y * two[2]
        x2, y2 = three[0] - x * three[2], three[1] - y * three[2]
        e0, e1, e2 = x1 * y2 - y1 * x2, x2 * y0 - y2 * x0, x0 * y1 - y0 * x1
        total = e0 + e1 + e2
        a, b = e0 / total, e1 / total
        c = np.float32(1) - a - b
        nx = a * one[3] + b * two[3] + c * three[3]
        ny = a * one[4] + b * two[4] + c * three[4]
        nz = a * one[5] + b * two[5] + c * three[5]
        scale = np.float32(1) / np.sqrt(nx * nx + ny * ny + nz * nz + np.float32(1e-20))
        found[0, n], found[1, n], found[2, n] = nx * scale, ny * scale, nz * scale
        for m in range(3):
            found[3 + m, n] = a * one[6 + m] + b * two[6 + m] + c * three[6 + m]
        found[6, n] = a * one[2] + b * two[2] + c * three[2]
        if attributes.shape[1] > 9:
            for m in range(3):
                found[7 + m, n] = a * one[9 + m] + b * two[9 + m] + c * three[9 + m]


@compiled
def _illuminate(
    count: int,
    across: np.ndarray,
    down: np.ndarray,
    normal_x: np.ndarray,
    normal_y: np.ndarray,
    normal_z: np.ndarray,
    gloss: np.ndarray,
    shine: np.ndarray,
    light: np.ndarray,
    rays: np.ndarray,
    red: np.ndarray,
    green: np.ndarray,
    blue: np.ndarray,
) -> None:
    """Turn the colour of surfaces into the light that they send to the camera."""
    lx, ly, lz = light[0, 0], light[0, 1], light[0, 2]
    sun0, sun1, sun2 = light[1, 0], light[1, 1], light[1, 2]
    low0, low1, low2 = light[3, 0], light[3, 1], light[3, 2]
    sky0, sky1, sky2 = light[2, 0] - low0, light[2, 1] - low1, light[2, 2] - low2
    ax, ay, az = rays[0, 0], rays[1, 0], rays[2, 0]
    bx, by, bz = rays[0, 1], rays[1, 1], rays[2, 1]
    cx, cy, cz = rays[0, 2], rays[1, 2], rays[2, 2]
    one, half, sixteenth = np.float32(1), np.float32(0.5), np.float32(1 / 16)
    for n in range(count):
        x, y, nx, ny, nz = across[n], down[n], normal_x[n], normal_y[n], normal_z[n]
        facing = nx * lx + ny * ly + nz * lz
        sun = max(np.float32(0), (facing + np.float32(0.15)) * np.float32(1 / 1.15))
        sky = half + half * ny
        dx, dy, dz = ax * x + bx * y + cx, ay * x + by * y + cy, az * x + bz * y + cz
        scale = one / np.sqrt(dx * dx + dy * dy + dz * dz)
        hx, hy, hz = lx - dx * scale, ly - dy * scale, lz - dz * scale
        along = (nx * hx + ny * hy + nz * hz) / np.sqrt(hx * hx + hy * hy + hz * hz + np.float32(1e-12))
        # (1 - s (1 - h) / 16)^16 for h^s of Blinn and Phong.
        peak = max(np.float32(0), one - shine[n] * (one - along) * sixteenth)
        peak *= peak
        peak *= peak
        peak *= peak
        peak *= peak * gloss[n]
        spot = peak if facing > 0 else np.float32(0)
        red[n] = min(one, red[n] * (sun * sun0 + sky * sky0 + low0) + spot * sun0)
        green[n] = min(one, green[n] * (sun * sun1 + sky * sky1 + low1) + spot * sun1)
        blue[n] = min(one, blue[n] * (sun * sun2 + sky * sky2 + low2) + spot * sun2)


@compiled
def _colour_surfaces(
    count: int, row_of: np.ndarray, rows: np.ndarray, noise: np.ndarray, texels: np.ndarray, work: np.ndarray
) -> None:
    """Find for a batch of places their own colour, and how they shine."""
    if len(texels) > 0:
        _project(count, row_of, rows, texels, work)
    for n in range(count):
        _albedo(n, row_of[n], rows, noise, work)
        work[16, n], work[17, n] = rows[row_of[n], 14], rows[row_of[n], 15]


@inlined
def _albedo(n: Real, row: Real, rows: np.ndarray, noise: np.ndarray, work: np.ndarray) -> None:
    px, py, pz = work[6, n], work[7, n], work[8, n]
    footprint = rows[row, 25] * work[9, n]
    red, green, blue = work[13, n], work[14, n], work[15, n]
    if rows[row, 24] < 0:
        fraction = np.float32(0)
        if rows[row, 9] > 0:
            fraction = _pattern_fraction(px, py, pz, row, rows, footprint * rows[row, 10], noise)
        red = rows[row, 0] + fraction * (rows[row, 3] - rows[row, 0])
        green = rows[row, 1] + fraction * (rows[row, 4] - rows[row, 1])
        blue = rows[row, 2] + fraction * (rows[row, 5] - rows[row, 2])
    if rows[row, 13] > 0:
        below = min(max(-work[4, n] * np.float32(1.6) - np.float32(0.3), np.float32(0)), np.float32(1))
        red, green, blue = (
            red + below * (rows[row, 6] - red),
            green + below * (rows[row, 7] - green),
            blue + below * (rows[row, 8] - blue),
        )
    sharp = np.float32(1) - footprint * rows[row, 17]
    if rows[row, 16] > 0 and sharp > 0:
        often = rows[row, 17]
        grain = np.float32(1) + rows[row, 16] * sharp * _noise(
            noise, px * often + rows[row, 22], py * often + rows[row, 23], pz * often + rows[row, 21]
        )
        red, green, blue = red * grain, green * grain, blue * grain
    work[13, n], work[14, n], work[15, n] = red, green, blue


@inlined
def _pattern_fraction(
    px: Real, py: Real, pz: Real, row: Real, rows: np.ndarray, width: Real, noise: np.ndarray
) -> Real:
    """Return how much of the second colour there is, 0 to 1; edges are as wide as the pixel."""
    pattern, often, level, warp = rows[row, 9], rows[row, 10], rows[row, 11], rows[row, 12]
    qx, qy, qz = px * often + rows[row, 21], py * often + rows[row, 22], pz * often + rows[row, 23]
    half = np.float32(0.5)
    if pattern == 3 or pattern == 5:
        wide = np.float32(2.7)
        value = _noise(noise, qx, qy, qz)
        value += np.float32(0.35) * warp * _noise(noise, wide * qz, wide * qx, wide * qy)
        if pattern == 5:
            return min(max(half + np.float32(0.9) * value, np.float32(0)), np.float32(1))
        return _edge(value - (half - level), np.float32(0.03) + np.float32(1.5) * width)
    if warp > 0:
        bend = np.float32(0.8) * warp * _noise(noise, half * qx, half * qy, half * qz)
        qx, qy, qz = qx + bend, qy - half * bend, qz + bend
    if pattern == 1:
        value = half * _cosine(qx * rows[row, 18] + qy * rows[row, 19] + qz * rows[row, 20])
        return _edge(value - (half - level), np.float32(0.05) + np.float32(3) * width)
    value = _cosine(half * qx) * _cosine(half * qy) * _cosine(half * qz)
    if pattern == 2:
        return _edge(abs(value) - (np.float32(0.75) - level), np.float32(0.03) + np.float32(1.5) * width)
    return _edge(value, np.float32(0.02) + np.float32(1.5) * width)


@inlined
def _edge(value: Real, width: Real) -> Real:
    return min(max(np.float32(0.5) + value / (np.float32(2) * width), np.float32(0)), np.float32(1))


@inlined
def _cosine(turns: Real) -> Real:
    """Return cos(2 pi turns) to 2e-4."""
    rest = turns - np.floor(turns + np.float32(0.5))
    angle = np.float32(2 * np.pi) * (np.float32(0.25) - abs(rest))
    square = angle * angle
    return angle * (
        np.float32(1)
        - square * (np.float32(1 / 6) - square * (np.float32(1 / 120) - square * np.float32(1 / 5040)))
    )


@inlined
def _noise(table: np.ndarray, x: Real, y: Real, z: Real) -> Real:
    """Interpolate a periodic lattice of random values, smoothly."""
    fx, fy, fz = np.floor(x), np.floor(y), np.floor(z)
    u, v, w = x - fx, y - fy, z - fz
    i, j, k = int(fx) & _LAST, int(fy) & _LAST, int(fz) & _LAST
    i1, j1, k1 = ((i + 1) & _LAST) * NOISE * NOISE, ((j + 1) & _LAST) * NOISE, (k + 1) & _LAST
    i, j = i * NOISE * NOISE, j * NOISE
    three, two = np.float32(3), np.float32(2)
    u, v, w = u * u * (three - two * u), v * v * (three - two * v), w * w * (three - two * w)
    a = table[i + j + k] + w * (table[i + j + k1] - table[i + j + k])
    b = table[i + j1 + k] + w * (table[i + j1 + k1] - table[i + j1 + k])
    c = table[i1 + j + k] + w * (table[i1 + j + k1] - table[i1 + j + k])
    d = table[i1 + j1 + k] + w * (table[i1 + j1 + k1] - table[i1 + j1 + k])
    a, c = a + v * (b - a), c + v * (d - c)
    return a + u * (c - a)


@compiled
def _project(count: int, row_of: np.ndarray, rows: np.ndarray, texels: np.ndarray, work: np.ndarray) -> None:
    """Read images along the three canonical axes, weighted by how much the surface faces each."""
    for n in range(count):
        row = row_of[n]
        if rows[row, 24] < 0:
            continue
        image, often, size = texels[int(rows[row, 24])], rows[row, 10], rows[row, 25] * work[9, n]
        x, y = work[6, n] * often + rows[row, 21], work[7, n] * often + rows[row, 22]
        z = work[8, n] * often + rows[row, 23]
        level, side, start = 0, SIDE, 0
        while level < LEVELS and size * often * side > 1:
            level, start, side = level + 1, start + side * side, side // 2
        red, green, blue = np.float32(0), np.float32(0), np.float32(0)
        total = work[10, n] + work[11, n] + work[12, n]
        for axis in range(3):
            weight = work[10 + axis, n] / total
            if weight > 0:
                # From the front and from the side, what is up in the image is up.
                s, t = (z, y) if axis == 0 else ((x, z) if axis == 1 else (x, y))
                r, g, b = _texel(image, start, side, s, -t)
                red, green, blue = red + weight * r, green + weight * g, blue + weight * b
        work[13, n], work[14, n], work[15, n] = red, green, blue


@compiled
def _texel(image: np.ndarray, start: int, side: int, s: float, t: float) -> tuple[Real, Real, Real]:
    """Interpolate an image that is repeated endlessly, every other time as in a mirror."""
    # Texels are known at their middles.
    u, v = s * side - 0.5, t * side - 0.5
    i, j = np.floor(u), np.floor(v)
    p, q = np.float32(u - i), np.float32(v - j)
    left, right = _mirrored(int(i), side), _mirrored(int(i) + 1, side)
    upper, lower = start + side * _mirrored(int(j), side), start + side * _mirrored(int(j) + 1, side)
    one, two, three, four = (
        image[upper + left],
        image[upper + right],
        image[lower + left],
        image[lower + right],
    )
    red = (one[0] + p * (two[0] - one[0])) * (1 - q) + (three[0] + p * (four[0] - three[0])) * q
    green = (one[1] + p * (two[1] - one[1])) * (1 - q) + (three[1] + p * (four[1] - three[1])) * q
    blue = (one[2] + p * (two[2] - one[2])) * (1 - q) + (three[2] + p * (four[2] - three[2])) * q
    return red, green, blue


@inlined
def _mirrored(index: Real, side: Real) -> Real:
    place = index & (2 * side - 1)
    return place if place < side else 2 * side - 1 - place
