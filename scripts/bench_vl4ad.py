"""Time and memory of VL4AD on one image, with random weights: nothing is downloaded, and the numbers are the same.

    python scripts/bench_vl4ad.py                                        ConvNeXt-L, 1024 x 2048 pixels
    python scripts/bench_vl4ad.py --clip convnext_base_w --train         a training step on a 512 x 1024 crop

Memory is the process's largest resident size (Linux), before and after; the text tower is left out of the picture.
"""

from __future__ import annotations

import argparse
import resource
import time

import torch


def peak_gib() -> float:
    """The largest resident size so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    """Build, run once, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", default="convnext_large_d_320", help="an open_clip model")
    parser.add_argument("--size", type=int, nargs=2, default=None, metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--train", action="store_true", help="a training step instead of inference")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    height, width = options.size or ((512, 1024) if options.train else (1024, 2048))
    torch.set_num_threads(options.threads)

    import open_clip

    from adbench.clip import Clip
    from adbench.data.sample import Batch
    from adbench.methods import build
    from adbench.methods.vl4ad.vocabulary import make_columns

    config = open_clip.get_model_config(options.clip)
    config["text_cfg"] |= {"layers": 1, "vocab_size": 512}
    clip = Clip(open_clip.CLIP(**config), name=options.clip, source="random", quick_gelu=False)
    method = build("vl4ad", clip)
    n_classes = len(method.vocabulary.classes)
    single = [(index,) for index in range(n_classes)]
    features = torch.nn.functional.normalize(torch.randn(n_classes, clip.embed_dim), dim=-1)
    columns = make_columns(features, [1] * n_classes, n_id=n_classes, seen=[True] * n_classes, groups=single)
    method.use_columns(train=columns, test=columns)
    images = torch.randn(1, 3, height, width)
    labels = torch.arange(n_classes).repeat_interleave(-(-width // n_classes))[:width].expand(1, height, -1)
    batch = Batch(images, torch.zeros(1, dtype=torch.long), ["road"], ["random"], "random", masks=labels)
    learned = sum(p.numel() for p in method.parameters()) / 1e6
    print(f"{options.clip}, {height} x {width}, {options.threads} threads; {learned:.1f} M learned weights")
    print(f"built         {peak_gib():5.2f} GiB")
    start = time.perf_counter()
    encoded = method.train(options.train).encode(batch)
    print(f"image tower   {peak_gib():5.2f} GiB  {time.perf_counter() - start:6.1f} s")
    start = time.perf_counter()
    if options.train:
        torch.stack(list(method.loss(encoded, batch).values())).sum().backward()
        print(f"loss, gradient{peak_gib():5.2f} GiB  {time.perf_counter() - start:6.1f} s")
    else:
        with torch.no_grad():
            maps = method.score(encoded, batch).maps
        print(f"decoder, map  {peak_gib():5.2f} GiB  {time.perf_counter() - start:6.1f} s, {tuple(maps[0].shape)}")


if __name__ == "__main__":
    main()
