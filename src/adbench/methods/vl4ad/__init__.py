"""VL4AD: pixel-wise anomalies in road scenes (Zhong et al., ECCV 2024 workshop)."""

from adbench.methods.vl4ad.method import VL4AD

__all__ = ["VL4AD"]
