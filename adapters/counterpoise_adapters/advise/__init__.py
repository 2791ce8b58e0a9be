"""Advice on how to train: plainly, on the target rows alone, with weights, or robustly, and how sure that is.

`advise` trains a small linear policy in each way and judges it by target rows that it has not seen. It chooses between
plain training, the target rows, and half the weight on these; another way has to lead by far. NumPy does the work
where the ratio is given; scikit-learn fits it where it is not.
"""

from ._advice import Advice, advise
from ._candidates import Candidate
from ._data import Labelled, Pairs
from ._evidence import LabelBias, label_bias
from ._sentences import Evidence, Score

__all__ = ["Advice", "Candidate", "Evidence", "LabelBias", "Labelled", "Pairs", "Score", "advise", "label_bias"]
