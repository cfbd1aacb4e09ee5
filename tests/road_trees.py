"""Miniature trees of the road sets in their published layouts: a few images of 16 x 32 pixels each."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 16, 32
LAF = {"04_Maurener_Weg_8_000000_000030": "train", "02_Hanns_Klemm_Str_44_000000_000020": "test"}
STATIC = {"0000": "frankfurt_000000_000294", "0001": "ulm_000001_000019"}
FRAMES = {"ulm_000000_000019": "train", "bad-honnef_000001_000019": "train", "munster_000000_000019": "val"}


def picture(path: Path, *, seed: int = 0, value: int | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng([seed, zlib.crc32(path.name.encode())])
    pixels = random.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    if value is not None:
        pixels[:] = value
    Image.fromarray(pixels).save(path, **({"lossless": True} if path.suffix == ".webp" else {}))
    return path


def labels(path: Path, *ids: int, channels: int = 1, palette: bool = False) -> Path:
    """Stripes of the given ids."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.array(ids, np.uint8)[np.arange(WIDTH) * len(ids) // WIDTH][None].repeat(HEIGHT, 0)
    image = Image.fromarray(values)
    if channels > 1:
        image = Image.fromarray(np.stack([values] * channels, -1))
    if palette:
        image = image.convert("P")
        image.putdata(values.ravel().tolist())
    image.save(path)
    return path


def cityscapes(root: Path, frames: dict[str, str]) -> Path:
    """frames: id -> split."""
    for number, (frame, split) in enumerate(frames.items()):
        city = frame.split("_")[0]
        picture(root / "leftImg8bit" / split / city / f"{frame}_leftImg8bit.png", seed=number)
        if split != "test":
            labels(root / "gtFine" / split / city / f"{frame}_gtFine_labelIds.png", 7, 8, 29, 30, 33, 0)
    return root


def smiyc(root: Path, suffix: str, fids: dict[str, bool]) -> Path:
    """fids: name -> whether it has labels."""
    for number, (fid, labelled) in enumerate(fids.items()):
        picture(root / "images" / f"{fid}{suffix}", seed=number)
        if labelled:
            labels(root / "labels_masks" / f"{fid}_labels_semantic.png", 0, 1, 255)
            picture(root / "labels_masks" / f"{fid}_labels_semantic_color.png")
    return root


def fishyscapes(root: Path) -> Path:
    for number, frame in enumerate(LAF):
        labels(root / f"{number:04d}_{frame}_labels.png", 0, 1, 255, palette=bool(number))
    return root


def scene(frame: str) -> str:
    return "_".join(frame.split("_")[:-2])


def static(root: Path, *, version: int = 2, nested: bool = True) -> Path:
    folder = root / f"fs_val_v{version}" if nested else root
    for number, (fid, frame) in enumerate(STATIC.items()):
        labels(folder / f"{fid}_{frame}_labels.png", 0, 1, 255)
        overlay = np.zeros((HEIGHT, WIDTH, 3), np.int16)
        overlay[0, :3] = np.array([[-200], [200], [version]])
        np.savez(folder / (f"{fid}_{frame}_rgb.npz" if number else f"{fid}_rgb.npz"), rgb=overlay)
    return root


def base_pictures(root: Path) -> Path:
    for split, frame in (("val", STATIC["0000"]), ("train", STATIC["0001"])):
        picture(root / "leftImg8bit" / split / frame.split("_")[0] / f"{frame}_leftImg8bit.png", value=100)
    return root


def write_all(data_dir: Path) -> Path:
    """All sets of the benchmark `road`, and Cityscapes, below one folder."""
    cityscapes(data_dir / "cityscapes", FRAMES)
    for number, frame in enumerate(("animals01", "cones02")):
        picture(data_dir / f"road_anomaly19/RoadAnomaly_jpg/frames/{frame}.jpg", seed=number)
        labels(data_dir / f"road_anomaly19/RoadAnomaly_jpg/frames/{frame}.labels/labels_semantic.png", 0, 2, 255)
    smiyc(data_dir / "smiyc_ra21/dataset_AnomalyTrack", ".jpg", {"validation0000": True, "zebra0000": False})
    smiyc(data_dir / "smiyc_ro21/dataset_ObstacleTrack", ".webp", {"validation_1": True, "gravel_1": False})
    fishyscapes(data_dir / "fs_lostandfound")
    for number, (frame, split) in enumerate(LAF.items()):
        image = data_dir / "lostandfound/leftImg8bit" / split / scene(frame) / f"{frame}_leftImg8bit.png"
        picture(image, seed=number)
    static(data_dir / "fs_static")
    base_pictures(data_dir / "cityscapes")
    for split, frame in (("val", STATIC["0000"]), ("train", STATIC["0001"])):
        labels(data_dir / f"cityscapes/gtFine/{split}/{frame.split('_')[0]}/{frame}_gtFine_labelIds.png", 7, 8, 23)
    return data_dir
