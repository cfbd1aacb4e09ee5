"""adbench: CLIP-based visual anomaly detection on one backbone, one data layer and one metrics module."""

__version__ = "0.1.0"
