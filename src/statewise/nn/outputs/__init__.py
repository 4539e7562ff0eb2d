"""Outputs of a recurrent network, one file a family. A new family is one file and one line in `OUTPUTS`."""

from __future__ import annotations

from statewise.nn.outputs.base import Law, Output, Start
from statewise.nn.outputs.bernoulli import BernoulliOutput
from statewise.nn.outputs.categorical import CategoricalOutput
from statewise.nn.outputs.gaussian import FullGaussianOutput, GaussianOutput
from statewise.nn.outputs.maths import NUMPY, TorchMaths
from statewise.nn.outputs.mixture import MixtureOutput
from statewise.nn.outputs.negative_binomial import NegativeBinomialOutput
from statewise.nn.outputs.poisson import PoissonOutput
from statewise.nn.outputs.student_t import StudentTOutput

OUTPUTS: dict[str, type[Output]] = {
    output.name: output
    for output in (
        GaussianOutput,
        FullGaussianOutput,
        StudentTOutput,
        MixtureOutput,
        PoissonOutput,
        NegativeBinomialOutput,
        BernoulliOutput,
        CategoricalOutput,
    )
}

__all__ = ["NUMPY", "OUTPUTS", "Law", "Output", "Start", "TorchMaths"]
