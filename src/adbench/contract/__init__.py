"""What every method keeps to, as checks that run on any of them: `check_method`. Built-in ones are tested by it."""

from adbench.contract.checks import CHECKS, Outcome, check_method
from adbench.contract.subject import Subject

__all__ = ["CHECKS", "Outcome", "Subject", "check_method"]
