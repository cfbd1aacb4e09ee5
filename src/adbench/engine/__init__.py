"""Training and evaluation of any method: knows methods by their interface alone.

settings    what a run does: plain dataclasses, checked            (imports no torch)
run_folder  where a run leaves its files                           (imports no torch)
provenance  what a run was made with
device      which device and precision
train       the training loop, resumable to the bit
evaluate    the evaluation loop and its result rows
weights     learned weights on disk, with the record of how they came about
"""
