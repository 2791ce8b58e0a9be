"""Weights to 24 digits by bracketed root-finding in mpmath: nothing of the package's, not even its unknowns."""

import mpmath as mp

import counterpoise as cp

mp.mp.dps = 40


def link(d):
    """(f*)' and the s at which it becomes infinite."""
    if isinstance(d, cp.KL):
        return mp.exp, mp.inf
    if isinstance(d, cp.JensenShannon):
        return (lambda s: 1 / (2 * mp.exp(-2 * s) - 1)), mp.log(2) / 2
    a, scale = {
        cp.ChiSquare(): (2, 2), cp.ReverseKL(): (0, 1), cp.Hellinger(): (mp.mpf(1) / 2, mp.mpf(1) / 4),
    }.get(d) or (mp.mpf(d.a), 1)  # fmt: skip

    def power(s):
        base = 1 + (a - 1) * s / scale
        return mp.mpf(0) if base <= 0 else base ** (mp.mpf(1) / (a - 1))

    return power, mp.inf if a > 1 else mp.mpf(scale) / (1 - a)


def distance(d, q, p):
    """D(q‖p)."""
    if isinstance(d, cp.KL):
        return sum(qi * mp.log(qi / pi) for qi, pi in zip(q, p, strict=True) if qi > 0)
    if isinstance(d, cp.ReverseKL):
        return sum(pi * mp.log(pi / qi) for qi, pi in zip(q, p, strict=True))
    if isinstance(d, cp.ChiSquare):
        return sum((qi - pi) ** 2 / pi for qi, pi in zip(q, p, strict=True))
    if isinstance(d, cp.Hellinger):
        return sum((mp.sqrt(qi) - mp.sqrt(pi)) ** 2 for qi, pi in zip(q, p, strict=True)) / 2
    if isinstance(d, cp.JensenShannon):
        half = [(qi + pi) / 2 for qi, pi in zip(q, p, strict=True)]
        return (distance(cp.KL(), q, half) + distance(cp.KL(), p, half)) / 2
    a = mp.mpf(d.a)
    return sum(pi * ((qi / pi) ** a - 1) for qi, pi in zip(q, p, strict=True)) / (a * (a - 1))


def root(function, low, high):
    """Root of an increasing function to 36 digits: bisection into its neighbourhood, then regula falsi."""
    for _ in range(20):
        middle = (low + high) / 2
        if function(middle) < 0:
            low = middle
        else:
            high = middle
    if function(high) == mp.inf:
        return root(function, low, high)
    return mp.findroot(function, (low, high), solver="anderson", tol=mp.mpf(10) ** -36, maxsteps=60, verify=False)


def penalized(losses, prior, d, penalty):
    """Weights of the penalised problem on the atoms with prior, as mpf."""
    x, p = [mp.mpf(loss) for loss in losses], [mp.mpf(mass) for mass in prior]
    p = [mass / sum(p) for mass in p]
    function, limit = link(d)
    penalty = mp.mpf(penalty)
    x = [(max(x) - loss) / penalty for loss in x]
    high = min(max(x), limit)

    def excess(v):
        s = [v - below for below in x]
        return mp.inf if max(s) >= limit else sum(pi * function(x) for pi, x in zip(p, s, strict=True)) - 1

    v = root(excess, mp.mpf(0), high)
    q = [pi * function(v - below) for pi, below in zip(p, x, strict=True)]
    return [mass / sum(q) for mass in q]


def constrained(losses, prior, d, radius):
    """Weights of the constrained problem, radius below saturation, by a secant on the logarithm of the penalty.

    To 24 digits: a tolerance below what 40 digits resolve would never be met, and every step would be taken.
    """
    p = [mp.mpf(mass) for mass in prior]
    p = [x / sum(p) for x in p]
    spread = mp.mpf(max(losses)) - mp.mpf(min(losses))

    def short(log_penalty):
        q = penalized(losses, prior, d, spread * mp.exp(log_penalty))
        return mp.log(distance(d, q, p) / mp.mpf(radius))

    low, high = mp.mpf(-1), mp.mpf(1)
    while short(low) < 0:
        low *= 2
    while short(high) > 0:
        high *= 2
    log_penalty = mp.findroot(short, (low, high), solver="anderson", tol=mp.mpf(10) ** -24, maxsteps=200, verify=False)
    return penalized(losses, prior, d, spread * mp.exp(log_penalty))


def shrunk(losses, prior, *, radius=None, penalty=None):
    """χ² weights by trying every active set: quick, and exact however little prior the largest losses have."""
    p = [mp.mpf(mass) for mass in prior]
    p = [mass / sum(p) for mass in p]
    x = [max(losses) - mp.mpf(loss) for loss in losses]
    order = sorted(range(len(x)), key=x.__getitem__)
    for active in (order[:k] for k in range(len(x), 0, -1)):
        mass = sum(p[i] for i in active)
        mean = sum(p[i] * x[i] for i in active) / mass
        if penalty is not None:
            edge = mean + 2 * mp.mpf(penalty) / mass
        else:
            left = (1 + mp.mpf(radius)) * mass - 1
            second = sum(p[i] * (x[i] - mean) ** 2 for i in active)
            edge = mean + mp.sqrt(second / (left * mass)) if left > 0 else mp.mpf(0)
        if edge > x[active[-1]]:
            break
    w = [pi * max(edge - xi, 0) for pi, xi in zip(p, x, strict=True)]
    return [wi / sum(w) for wi in w]
