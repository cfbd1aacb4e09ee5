"""Miniature copies of published data sets in one data folder, for benchmarks."""

from __future__ import annotations

from pathlib import Path

from cli.few_pictures import picture

DATA = ["mvtec", "btad", "brain_mri", "colondb"]


def write_sets(root: Path, n_test: int = 2) -> None:
    """mvtec (two classes), btad (one class), brain_mri (no masks), colondb (no normal images), all different images.

    n_test  test images of each class that are normal, and that are anomalous
    """
    seed = 1000
    for folder, normal, abnormal in (
        ("mvtec/bottle", "good", "hole"),
        ("mvtec/screw", "good", "hole"),
        ("btad/01", "ok", "ko"),
    ):
        for place, n in ((f"train/{normal}", 2), (f"test/{normal}", n_test), (f"test/{abnormal}", n_test)):
            for number in range(n):
                seed += 1
                mask = root / folder / "ground_truth" / abnormal / f"{number:03d}_mask.png"
                _write(root / folder / place / f"{number:03d}.png", seed, mask if place.endswith(abnormal) else None)
    for number in range(n_test):
        _write(root / "brain_mri" / "no" / f"n{number}.png", 2000 + number, None)
        _write(root / "brain_mri" / "yes" / f"y{number}.png", 2010 + number, None, spot=True)
        _write(
            root / "colondb" / "images" / f"{number}.png", 2020 + number, root / "colondb" / "masks" / f"{number}.png"
        )


def _write(path: Path, seed: int, mask_path: Path | None, *, spot: bool = False) -> None:
    image, mask = picture(seed, spot=spot or mask_path is not None)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    if mask_path is not None:
        mask_path.parent.mkdir(parents=True, exist_ok=True)
        mask.save(mask_path)
