"""How a computation ended. The text of each member is what happened and, if it went wrong, the remedy."""

from __future__ import annotations

import enum

from statewise._core.errors import NumericalError


class Outcome(enum.Enum):
    """How a fit or an inference ended.

    ``outcome.ok`` says whether its result can be used as it stands; ``outcome.check()`` raises otherwise, so that the
    caller chooses between a value and an exception.
    """

    CONVERGED = "converged: the objective and the gradient stopped changing"
    EARLY_STOPPED = "stopped early: the validation score no longer improved; the best parameters are kept"
    CLOSED_FORM = "solved in closed form"
    MAX_ITER = "stopped at the iteration limit before converging; raise `max_iter`"
    MAX_EPOCHS = "stopped at the epoch limit while still improving; raise `epochs`"
    LINE_SEARCH = "the line search found no better point; the optimum is flat or at a boundary: see the gradient norm"
    NOT_FINITE = "the objective became NaN or infinite; check the scale of the data or give other starting values"
    NOT_POSITIVE_DEFINITE = (
        "an innovation covariance is not positive definite; add observation_noise or remove duplicate columns"
    )
    IMPOSSIBLE = (
        "the model gives an observation probability zero; "
        "check the support of the emissions and zeros in transition_probs"
    )

    @property
    def ok(self) -> bool:
        """Whether the result can be used as it stands."""
        return self in _GOOD

    def check(self) -> None:
        """Raise `NumericalError` with the remedy unless the outcome is good."""
        if not self.ok:
            raise NumericalError(self.value)


_GOOD = frozenset({Outcome.CONVERGED, Outcome.EARLY_STOPPED, Outcome.CLOSED_FORM})
