"""Score models: a mixture of models or a small head that turn a network's score into another score.

A score model is part of a decision rule. It is plain arrays that this package evaluates in float64;
nothing in a file is executed.
"""

from fairfix.models.score_model.blind_score import BlindScore
from fairfix.models.score_model.logistic import Logistic
from fairfix.models.score_model.mixture import Mixture, StandardizedLogistic
from fairfix.models.score_model.repaired_score import RepairedScore
from fairfix.models.score_model.residual_head import ResidualHead
from fairfix.models.score_model.score_model import ModeledScores, ScoreModel
from fairfix.models.score_model.tree_ensemble import TreeEnsemble

__all__ = [
    "BlindScore",
    "Logistic",
    "Mixture",
    "ModeledScores",
    "RepairedScore",
    "ResidualHead",
    "ScoreModel",
    "StandardizedLogistic",
    "TreeEnsemble",
]
