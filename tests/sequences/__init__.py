"""Tests of `statewise.sequences`."""
