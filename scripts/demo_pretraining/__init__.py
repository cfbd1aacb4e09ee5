"""Parts of train_demo_clip.py: the pool of pictures, the fast towers, the exported file."""
