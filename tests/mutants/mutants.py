"""Bugs to plant in the core: file, what stands there once, what a careless hand would write."""

MUTANTS = {
    # canonical form
    "max over padding": (
        "_problem.py",
        "top = reduce.max(loss if whole else xp.where(live, loss, -xp.inf))",
        "top = reduce.max(loss)",
    ),
    "masked losses overlooked": ("_problem.py", "xp.isfinite(reduce.min(loss)) & ", ""),
    "zero masses overlooked": ("_problem.py", "(reduce.min(mass) > 0)", "(reduce.min(mass) >= 0)"),
    "scale over the batch": ("_problem.py", "half = reduce.max(x)\n", "half = xp.max(x) + 0 * reduce.max(x)\n"),
    "prior unnormalised": ("_problem.py", "return mass / xp.where(total > 0, total, 1.0), ", "return mass, "),
    "uniform on small relative range": (
        "_problem.py",
        "    argmax = x == 0 if whole",
        "    x = xp.where(half < 1e-4 * xp.abs(top), 0.0, x)\n    argmax = x == 0 if whole",
    ),
    "constant rows unnoticed": ("_problem.py", "at_top = xp.where(mean > 0, at_top, 1.0)", "at_top = 1.0 * at_top"),
    "NaN losses unnoticed": (
        "_problem.py",
        "xp.astype(live, loss.dtype), reduce.any(~known), None",
        "xp.astype(live, loss.dtype), None, None",
    ),
    "negative masses masked": ("_problem.py", "bad_prior = reduce.any(~possible & (mass != 0))", "bad_prior = None"),
    "infinite range": (
        "_problem.py",
        "flat = infinite | (top == -xp.inf)",
        "flat = top == -xp.inf",
    ),
    "value without its cost": ("_problem.py", "(below + cost))", "below)"),
    "gap of the wrong sign": (
        "_problem.py",
        "penalty * (conjugate + budget) + moved",
        "penalty * (conjugate + budget) - moved",
    ),
    "float64 leak": ("_xp.py", "return xp.astype(spread, like.dtype)", "return xp.astype(spread, xp.float64)"),
    "half precision sums": ("_xp.py", "if xp.finfo(array.dtype).bits < 32 else array", "if False else array"),
    "blocks share an amount": ("_blocks.py", '(2 if key == "prior" else 1)', "2"),
    # exponential weights
    "infeasible bracket end": ("_solvers/kl.py", "return kl_at(problem, t)", "return kl_at(problem, t * (1 + 1e-9))"),
    "log-sum cancels": ("_solvers/kl.py", "xp.where(xp.abs(growth) < 0.5,", "xp.where(xp.abs(growth) < 0,"),
    "tilt without a centre": (
        "_solvers/kl.py",
        "centre = xp.minimum(problem.mean,",
        "centre = 0 * xp.minimum(problem.mean,",
    ),
    # χ²
    "half of chi-square": (
        "weights.py",
        "chi_square_penalty(problem, lam * divergence.scale, done)",
        "chi_square_penalty(problem, lam, done)",
    ),
    "radius of half chi-square": ("weights.py", "2 * rho / divergence.scale", "rho / divergence.scale"),
    "variance without its mass": ("_solvers/chi_square.py", "rest * safe", "rest"),
    "shift without the inactive": ("_solvers/chi_square.py", "(first + safe * outside)", "first"),
    "active set at saturation": ("_solvers/chi_square.py", "(rest > 0) & (second > 0)", "(rest > 0)"),
    # Cressie-Read
    "shift of the other power": ("_solvers/power.py", "expm1_ratio(xp, -k, log_mass)", "expm1_ratio(xp, k, log_mass)"),
    "threshold not resolved": ("_solvers/power.py", "if k < 0.25:", "if k < 1e9:"),
    "cancelling divergence": ("divergences.py", "t = xp.exp(u) if t is None else t\n", "t = 1 + change\n"),
    "wrong branch of the family": ("divergences.py", "if abs(a - 1) <= 0.5:", "if abs(a - 1) <= 1.5 and a != 0:"),
    "Hellinger's scale": ("divergences.py", "scale: ClassVar[float] = 0.25", "scale: ClassVar[float] = 0.5"),
    # the rest
    "short series": ("divergences.py", "for j in range(17, 0, -1):", "for j in range(3, 0, -1):"),
    "pole by difference": (
        "_solvers/generic.py",
        "divergence.link_below(limit / (1 + z) + scaled_x)",
        "divergence.link(shift_at(z) - scaled_x)",
    ),
    "loose root": ("_roots.py", "tolerance = 2 * float(xp.finfo(start.dtype).eps)", "tolerance = 1e-6"),
    "bisection underflows": ("_roots.py", "xp.maximum(hi / growth / growth, tiny)", "hi / growth / growth"),
    "noise at tiny radii": ("_solvers/ball.py", "(1 + root), root / 4)", "(1 + root), 1e9 * root)"),
    "saturation without f(0)": ("weights.py", "+ (1 - safe) * divergence.f_at_zero", ""),
    "mass moved the wrong way": ("weights.py", "fill(problem, 1 - rho, done)", "fill(problem, rho, done)"),
    "multiplier in units of the range": ("weights.py", "multiplier = problem.amount\n", "multiplier = lam\n"),
    "cap off by a tie": ("_solvers/cap.py", "return over + at * part,", "return over + at,"),
    "smooth cap forgotten": ("_solvers/cap.py", "xp.minimum(factor * tilt, cap)", "factor * tilt"),
    "DoRA's weights without the ratio": ("objective.py", "solution.weights * h)", "solution.weights)"),
    "negative times negative": ("objective.py", "xp.where((r >= 0) & (p >= 0), r * p, xp.nan)", "r * p"),
    "ties by rank": ("spectral.py", "above, down_to = _ties(xp, x, mass)", "above, down_to = mass - p, mass"),
    "sizes without a root": ("groups.py", "xp.sqrt(xp.maximum(size, 1.0))", "xp.maximum(size, 1.0)"),
    "stray groups unnoticed": (
        "groups.py",
        "xp.any((groups < 0) | (groups >= n_groups), axis=-1)",
        "xp.any(groups < 0, axis=-1)",
    ),
    "ball binds too late": ("projection.py", "(bound.multiplier <= 0.5)", "(bound.multiplier <= 1.0)"),
    "threshold found once": ("projection.py", "    slack = _recentred(xp, slack, p, room, y)\n", ""),
    # density ratios
    "left out of one sample only": ("ratios/ulsif.py", "(n_t * u - c) / (n_t - 1), (n_t * v - e) / (n_t - 1)", "u, v"),
    "relative by the other identity": ("ratios/ulsif.py", "left_t * left_s - of_t * of_s * c * c", "left_t * left_s"),
    "constant penalised": ("ratios/ulsif.py", "xp.ones_like(inverse[:1]), inverse", "inverse[:1], inverse"),
    "gap of unscaled weights": (
        "ratios/kliep.py",
        "gap = scale * xp.max(g) - 1",
        "gap = 1e-3 * (scale * xp.max(g) - 1)",
    ),
    "target held out alone": (
        "ratios/kliep.py",
        "float(xp.log(xp.mean(at_s)) - xp.mean(xp.log(at_t)))",
        "float(-xp.mean(xp.log(at_t)))",
    ),
    "class sizes left in": (
        "ratios/logistic.py",
        "offset = math.log(int(train.shape[0])) - math.log(int(target.shape[0]))",
        "offset = 0.0",
    ),
    "hull unchecked": (
        "ratios/log_linear.py",
        "if not float(gap) <= float(xp.finfo",
        "if not float(gap) >= 0 * float(xp.finfo",
    ),
    "determinants forgotten": ("ratios/gaussian.py", "xp.linalg.slogdet(covariance)[1]", "0.0"),
    "rows out of order": (
        "ratios/select.py",
        "xp.argsort(xp.concat(list(rows), axis=0))",
        "xp.concat(list(rows), axis=0)",
    ),
    "shift where there is none": ("ratios/select.py", "CLEAR = 1.5", "CLEAR = -99.0"),
    "chunks not added": (
        "ratios/statistics.py",
        "[a + b for a, b in zip(total, sums, strict=True)] if total else sums",
        "sums",
    ),
    "quotient upside down": ("ratios/shares.py", "mixed / above, noise / above", "above / mixed, noise / above"),
    "unweighted area after": (
        "balance.py",
        "w = w / xp.where(total > 0, total, xp.ones_like(total))",
        "w = xp.ones_like(w) / w.shape[0]",
    ),
    "tail from the wrong end": ("tail.py", "x = ranked[..., n - tail :] -", "x = ranked[..., :tail] -"),
}
