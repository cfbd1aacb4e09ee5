"""What adbench shows without a download: rendered worlds with their data sets, and a toy CLIP."""
