"""One module per data set or family: how its folder is indexed, and its facts. Found by `adbench.data.catalogue`."""
