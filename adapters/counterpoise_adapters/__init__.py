"""counterpoise at the edge: one module per framework, each importing the core and that framework alone.

``sklearn`` fits ratios from classifiers, ``pytorch`` wraps losses, ``trl`` and ``openrlhf`` wrap trainers, and
``cli`` is the ``counterpoise`` command.  Nothing is imported here: a missing framework costs nothing.
"""
