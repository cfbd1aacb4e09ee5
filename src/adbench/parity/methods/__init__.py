"""One module per method: `run_case(case, tensors)` returns our tensors under the fixture's keys."""
