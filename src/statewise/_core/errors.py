"""The one tree of errors.

::

    StatewiseError
    ├── InputError (ValueError)             an argument is wrong: the message names it, its value and the fix
    │   └── DataError                       a file or a frame is wrong: names the file, the row, the column and the fix
    ├── NotFittedError (RuntimeError)       the model has no parameters yet: call fit, or give them
    ├── UnsupportedError (TypeError)        this model cannot do that, and the message says which one can
    ├── NumericalError (ArithmeticError)    an `Outcome` that the caller chose to raise
    ├── ModelFileError (OSError)            a saved model is truncated, altered or from a newer format
    ├── MissingDependencyError (ImportError)    an optional package is absent: the message says how to install it
    └── PrecisionWarning (UserWarning)      a warning: rounding would have cost digits, and a slower form was used
"""

from __future__ import annotations


class StatewiseError(Exception):
    """Base of every error that statewise raises on purpose."""


class InputError(StatewiseError, ValueError):
    """An argument is wrong; the message names the argument, its value and the fix."""


class DataError(InputError):
    """The content of a file or a frame is wrong; the message names the place and the fix."""


class NotFittedError(StatewiseError, RuntimeError):
    """The model has no parameters yet."""


class UnsupportedError(StatewiseError, TypeError):
    """The model cannot do what was asked; the message says why and what can."""


class NumericalError(StatewiseError, ArithmeticError):
    """A numerical failure that the caller chose to raise; the message carries the remedy."""


class ModelFileError(StatewiseError, OSError):
    """A saved model cannot be trusted: truncated, altered, or written by a newer version."""


class MissingDependencyError(StatewiseError, ImportError):
    """An optional package is not installed; the message says how to install it."""


class PrecisionWarning(StatewiseError, UserWarning):  # noqa: N818  # a warning, not an error
    """Rounding would have cost digits, so that a slower form was used; the message says which, and how to ask for it."""
