"""Noise for the procedural world: tileable random fields, sampled at texture coordinates.

Fields are made once per process from fixed seeds; a caller's generator only picks the field and the offset, so that a
256 x 256 bank serves every image at the price of one gather.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

FIELD_PX = 256
FIELDS_PER_BAND = 6
# Band -> (shortest, longest) wavelength in field pixels; one field pixel is one image pixel at 96 px and zoom 1.
BANDS = {
    "smooth": (60.0, 256.0),
    "cloud": (10.0, 128.0),
    "patch": (13.0, 30.0),
    "grain": (5.0, 10.0),
    "fine": (2.0, 4.5),
}
# A fixed number per band, so that a new band changes no other field.
_BAND_SEEDS = {"smooth": 11, "cloud": 12, "patch": 13, "grain": 14, "fine": 15}


@lru_cache(maxsize=1)
def fields() -> dict[str, np.ndarray]:
    """Band -> (FIELDS_PER_BAND, 256, 256) float32 in [-1, 1], zero mean, about 0.45 standard deviation."""
    fy, fx = np.fft.fftfreq(FIELD_PX)[:, None], np.fft.fftfreq(FIELD_PX)[None, :]
    frequency = np.hypot(fx, fy)
    frequency[0, 0] = 1e-6
    bank = {}
    for band, (shortest, longest) in BANDS.items():
        inside = (frequency >= 1 / longest) & (frequency <= 1 / shortest)
        power = np.where(inside, frequency**-1.2 if band in ("cloud", "smooth") else 1.0, 0.0)
        rng = np.random.default_rng([7301, _BAND_SEEDS[band]])
        made = []
        for _ in range(FIELDS_PER_BAND):
            field = np.fft.ifft2(np.fft.fft2(rng.standard_normal((FIELD_PX, FIELD_PX))) * power).real
            field = (field - field.mean()) / field.std()
            made.append(np.clip(field / 2.2, -1, 1).astype(np.float32))
        bank[band] = np.stack(made)
    return bank


def sample(band: str, u: np.ndarray, v: np.ndarray, rng: np.random.Generator, scale: float = 1.0) -> np.ndarray:
    """A random field of ``band`` at (u, v): shape of u, in [-1, 1]; one unit is 48 field pixels x scale."""
    field = fields()[band][rng.integers(FIELDS_PER_BAND)]
    du, dv = rng.integers(0, FIELD_PX, 2)
    iu = np.floor(u * (48.0 * scale)).astype(np.int32) + du
    iv = np.floor(v * (48.0 * scale)).astype(np.int32) + dv
    values: np.ndarray = field[iv & (FIELD_PX - 1), iu & (FIELD_PX - 1)]
    return values


def cells(u: np.ndarray, v: np.ndarray, rng: np.random.Generator, jitter: float = 0.8) -> tuple[np.ndarray, ...]:
    """Jittered-grid Voronoi cells of unit size.

    Returns, each the shape of u: distance to the nearest centre, margin to the second nearest, tone in [0, 1].
    """
    n = 16  # the table of centres repeats every 16 cells
    centres = rng.uniform(0.5 - jitter / 2, 0.5 + jitter / 2, (n, n, 2)).astype(np.float32)
    tones = rng.uniform(0, 1, (n, n)).astype(np.float32)
    iu, iv = np.floor(u).astype(np.int32), np.floor(v).astype(np.int32)
    first = np.full(u.shape, 9.0, np.float32)
    second = first.copy()
    tone = np.zeros(u.shape, np.float32)
    for di in (-1, 0, 1):
        for dj in (-1, 0, 1):
            ci, cj = iu + di, iv + dj
            centre = centres[cj % n, ci % n]
            distance = np.hypot(ci + centre[..., 0] - u, cj + centre[..., 1] - v)
            nearer = distance < first
            second = np.where(nearer, first, np.minimum(second, distance))
            tone = np.where(nearer, tones[cj % n, ci % n], tone)
            first = np.where(nearer, distance, first)
    return first, second - first, tone
