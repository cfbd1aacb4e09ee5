"""What a notebook uses, and the command line too: data sets, training, evaluation, and a detector for single pictures.

Everything here is reached as an attribute of `adbench`.
"""
