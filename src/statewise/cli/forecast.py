"""placeholder"""
from __future__ import annotations
def forecast() -> None:
    """x"""
