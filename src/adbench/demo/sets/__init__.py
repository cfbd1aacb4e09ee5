"""Facts and index functions of the rendered data sets, as in `adbench.data.sets`."""
