"""Where tensors become arrays and back: functions with a known gradient, as differentiable operations."""
