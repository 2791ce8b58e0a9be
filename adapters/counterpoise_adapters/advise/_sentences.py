"""What advice rests on, and how it is said."""

from dataclasses import dataclass

from ._candidates import Candidate
from ._evidence import LabelBias

__all__ = ["Evidence", "Score", "headline", "reasons_for"]


@dataclass(frozen=True)
class Score:
    """One way to train, with the amounts that have the least held-out log-loss.

    Parameters
    ----------
    candidate : Candidate
        Arm, ridge, power of the ratio, penalty.
    log_loss, accuracy : float
        On target rows that the policy did not see; 0.693 nats and 0.5 for a coin toss.
    gain, standard_error : float
        Log-loss of ERM less this one, in nats, and the standard error of this paired difference over the target's
        groups; 0 for ERM itself.
    lead, lead_error : float
        The same against the best of ERM, "target + weighted" and "target only"; 0 for that one itself.
    """

    candidate: Candidate
    log_loss: float
    accuracy: float
    gain: float
    standard_error: float
    lead: float
    lead_error: float


@dataclass(frozen=True)
class Evidence:
    """What speaks for or against weights.

    Parameters
    ----------
    rows, n_target : int
        Numbers of training rows, and of target rows among them.
    ess : float
        Effective number of rows under the ratio.
    auc, auc_error : float
        How well target rows are told from others by the log ratio (0.5 is chance), and its standard error.
    mean_ratio, mean_error : float
        Mean of the ratio over all rows, which should be 1, and its standard error.
    bias : LabelBias
        Whether target rows and others with like features carry different labels.
    """

    rows: int
    n_target: int
    ess: float
    auc: float
    auc_error: float
    mean_ratio: float
    mean_error: float
    bias: LabelBias


def headline(chosen: Candidate) -> str:
    """Say in one sentence how to train, and whether that is with weights.

    Parameters
    ----------
    chosen : Candidate
        The arm recommended, with its amounts.

    Examples
    --------
    >>> headline(Candidate("DoRA", l2=0.1, penalty=2.0))
    'Train with weights, robustly: DoRA with penalty 2.'
    """
    if chosen.arm == "ERM":
        return "Train plainly, on all rows: the evidence does not support weighting."
    if chosen.arm == "target only":
        return "Train on the target rows alone: the evidence does not support weighting the others."
    if chosen.arm == "target + weighted":
        return "Train with weights: half the weight on the target rows, half spread over all rows by the ratio."
    if chosen.arm == "reweighting":
        power = "" if chosen.power == 1.0 else f" to the power {chosen.power:g}"
        return f"Train with weights: reweighting, by the ratio{power}."
    return f"Train with weights, robustly: {chosen.arm} with penalty {chosen.penalty:g}."


def reasons_for(chosen: Score, scores: tuple[Score, ...], found: Evidence) -> tuple[str, ...]:
    """Say what was measured, one finding a sentence.

    Parameters
    ----------
    chosen : Score
        The arm recommended.
    scores : tuple of Score
        Every arm's, ERM's first.
    found : Evidence
        What is known of ratio and labels.
    """
    reasons = [_of_scores(chosen, scores)]
    apart = f"AUC {found.auc:.3f} ± {1.96 * found.auc_error:.3f}"
    if found.auc - 0.5 > 2.0 * found.auc_error:
        reasons.append(f"The ratio tells target rows from others ({apart}).")
    else:
        reasons.append(
            f"The ratio does not tell target rows from others ({apart}; 0.5 is chance): weights could only add noise."
        )
    little = found.ess < 1.1 * found.n_target
    reasons.append(
        f"The weights leave {found.ess:,.0f} of {found.rows:,} rows in effect; there are {found.n_target:,} target rows"
        + (": they amount to training on these alone." if little else ".")
    )
    off = abs(found.mean_ratio - 1.0)
    wrong = off > 0.1 and off > 3.0 * found.mean_error
    reasons.append(
        f"The mean of the ratio is {found.mean_ratio:.3f} ± {1.96 * found.mean_error:.3f}"
        + (": it should be 1, and these ratios are not to be trusted." if wrong else " (1 is right).")
    )
    return (*reasons, _of_labels(found.bias))


def _of_scores(chosen: Score, scores: tuple[Score, ...]) -> str:
    erm, plain = scores[0], f"plain training's {_nats(scores[0].log_loss)}"
    if chosen is not erm:
        return (
            f"On held-out target rows its log-loss is {_nats(chosen.gain)} ± {_nats(chosen.standard_error)} below "
            f"{plain} (one standard error)."
        )
    best = max(scores[1:], key=lambda score: score.gain)
    if best.gain <= 0.0:
        return f"No other way has less log-loss on held-out target rows than {plain}."
    return (
        f"The best of the others, {best.candidate.arm}, gains {_nats(best.gain)} ± {_nats(best.standard_error)} in "
        f"log-loss on held-out target rows over {plain}: too little to be told from luck."
    )


def _nats(amount: float) -> str:
    """Three decimals, or one digit of what they would round to nothing: a gain that is told is no zero."""
    return f"{amount:.3f}" if abs(amount) >= 5e-4 or amount == 0 else f"{amount:.0e}"


def _of_labels(bias: LabelBias) -> str:
    if bias.comparable == 0.0:
        return "No target row has a like among the others, so that labels cannot be compared."
    tested = f"(permutation test within strata of like features, p = {bias.p_value:.3f})"
    if bias.p_value < 0.05:
        return f"Target rows and others with like features carry different labels {tested}."
    return f"No difference is seen between the labels of target rows and of others with like features {tested}."
