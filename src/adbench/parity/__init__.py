"""Cases recorded from the authors' code: read them, compute ours, compare. One module per method in `methods`."""
