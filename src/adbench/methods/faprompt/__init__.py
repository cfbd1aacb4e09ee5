"""FAPrompt (ICCV 2025, arXiv 2410.10289): fine-grained compound abnormality prompts with a prior from the image."""

from adbench.methods.faprompt.method import FaPrompt

__all__ = ["FaPrompt"]
