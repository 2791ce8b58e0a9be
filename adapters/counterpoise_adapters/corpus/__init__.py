"""Weigh a corpus of many files: the same weights for one shard or a thousand, in any order, here or on a cluster.

A row is drawn to be learnt from by the hash of its content (`sample`, `strata`); the models learn from the rows drawn
in an order that depends on nothing else (`model`); every row is scored by models that did not see it; and what the
report and the mean of the weights need adds up (`tally`, `findings`). `jobs` do the work on one shard, an `engine`
does jobs on all of them, a `journal` knows which are done, and `run` puts the stages together.
"""
