"""Bad input says what was wrong, what is allowed and what to do: by exception for types, by status for values."""

import functools
import math
import re
import warnings

import numpy as np
import pytest
from formulas import DIVERGENCES

import counterpoise as cp

NAN = math.nan
X = np.array([0.0, 1.0, 2.0])
VERBS = {
    "penalized": lambda x, amount=0.5, **kw: cp.penalized(x, cp.KL(), amount, **kw),
    "constrained": lambda x, amount=0.1, **kw: cp.constrained(x, cp.KL(), amount, **kw),
    "cvar": lambda x, amount=0.5, **kw: cp.cvar(x, amount, **kw),
}
every = pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)
NAMES = {"penalized": "penalty", "constrained": "radius", "cvar": "level"}


@every
@pytest.mark.parametrize("dtype", ["int64", "bool", "complex128"])
def test_wrong_dtypes_of_losses(verb, dtype):
    with pytest.raises(TypeError, match=f"losses has dtype {dtype}; real floating-point is needed"):
        verb(X.astype(dtype))


@every
@pytest.mark.parametrize("dtype", ["int64", "bool", "complex128"])
def test_wrong_dtypes_of_priors(verb, dtype):
    with pytest.raises(TypeError, match=f"prior has dtype {dtype}"):
        verb(X, prior=X.astype(dtype))


@pytest.mark.parametrize("name", VERBS)
@pytest.mark.parametrize(
    ("amount", "message"),
    [(True, "is True; a float"), ("1", "is a str"), (np.array([1]), "has dtype int64"), (1j, "is a complex")],
)
def test_wrong_types_of_amounts(name, amount, message):
    with pytest.raises(TypeError, match=f"{NAMES[name]} {message}"):
        VERBS[name](X, amount)


@every
def test_lists_are_not_arrays(verb):
    with pytest.raises(TypeError, match="losses is a list, not an array; pass a numpy, torch, jax"):
        verb([0.0, 1.0])


@every
@pytest.mark.parametrize("shape", [(0,), (3, 0)])
def test_an_empty_last_axis(verb, shape):
    with pytest.raises(ValueError, match="its last axis must hold at least one value"):
        verb(np.zeros(shape))


@every
def test_a_scalar_loss(verb):
    with pytest.raises(ValueError, match="losses has shape \\(\\)"):
        verb(np.array(1.0))


@every
def test_an_empty_batch_is_a_batch(verb):
    solution = verb(np.zeros((0, 3)))
    assert solution.weights.shape == (0, 3) and solution.value.shape == (0,)


@every
def test_mismatched_shapes(verb):
    with pytest.raises(ValueError, match=r"shapes do not broadcast: losses \(3,\), prior \(2,\)"):
        verb(X, prior=np.ones(2))
    with pytest.raises(ValueError, match=r"has shape \(2,\); a float or an array of shape \(4,\) is needed"):
        verb(np.zeros((4, 3)), np.ones(2))


@every
def test_mixed_libraries(verb):
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match="arrays of different libraries .losses: numpy, prior: torch"):
        verb(X, prior=torch.ones(3))


@every
def test_mixed_devices(verb):
    strict = pytest.importorskip("array_api_strict")
    other = strict.asarray(X, device=strict.Device("device2"))
    with pytest.raises(ValueError, match="arrays on different devices .*losses: .*CPU_DEVICE.*prior: .*device2"):
        verb(strict.asarray(X), prior=other)


@pytest.mark.parametrize(
    ("losses", "amount", "prior", "status"),
    [
        ([0.0, NAN, 1.0], None, None, "NAN_LOSS"),
        ([0.0, 1.0, 2.0], None, [1.0, -1.0, 1.0], "INVALID_PRIOR"),
        ([0.0, 1.0, 2.0], None, [1.0, NAN, 1.0], "INVALID_PRIOR"),
        ([0.0, 1.0, 2.0], None, [1.0, math.inf, 1.0], "INVALID_PRIOR"),
        ([0.0, 1.0, 2.0], None, [0.0, 0.0, 0.0], "EMPTY_PRIOR"),
        ([-math.inf, -math.inf, 1.0], None, [1.0, 1.0, 0.0], "EMPTY_PRIOR"),
        ([0.0, 1.0, 2.0], -1.0, None, "INVALID_AMOUNT"),
        ([0.0, 1.0, 2.0], NAN, None, "INVALID_AMOUNT"),
    ],
)
@every
def test_wrong_values_set_the_status_of_their_row_alone(verb, losses, amount, prior, status):
    batch = np.array([X, losses])
    masses = None if prior is None else np.array([np.ones(3), prior])
    solution = verb(batch, prior=masses) if amount is None else verb(batch, np.array([0.5, amount]), prior=masses)
    alone = verb(X) if amount is None else verb(X, 0.5)
    np.testing.assert_array_equal(solution.weights[0], alone.weights)
    assert int(solution.status[0]) == int(alone.status)
    code = cp.Status[status]
    assert int(solution.status[1]) == code
    assert np.isnan(solution.value[1]) and np.isnan(solution.gap[1])
    wanted = np.zeros(3) if status == "EMPTY_PRIOR" else np.full(3, NAN)
    np.testing.assert_array_equal(solution.weights[1], wanted)
    with pytest.raises(RuntimeError, match=r"row \(1,\): " + code.message[:30].replace("(", r"\(")):
        cp.raise_on_failure(solution)


@pytest.mark.parametrize("level", [0.0, -0.1, 1.0000001, math.inf])
def test_levels_outside_their_range(level):
    assert int(cp.cvar(X, level).status) == cp.Status.INVALID_AMOUNT


@pytest.mark.parametrize("smoothing", [-1.0, NAN, True, "1", None])
def test_wrong_smoothing(smoothing):
    with pytest.raises(ValueError, match="smoothing is .*; a float >= 0"):
        cp.cvar(X, 0.5, smoothing=smoothing)


@pytest.mark.parametrize("wrong", ["KL", cp.KL, None, 2.0])
def test_a_divergence_is_an_instance(wrong):
    for call in (cp.penalized, cp.constrained):
        with pytest.raises(TypeError, match="pass an instance such as KL"):
            call(X, wrong, 1.0)
    with pytest.raises(TypeError, match="pass an instance"):
        cp.max_radius(wrong, X)


@pytest.mark.parametrize("a", [NAN, math.inf, True, "2"])
def test_a_cressie_read_exponent_is_a_finite_number(a):
    with pytest.raises(ValueError, match="a finite real number is needed"):
        cp.CressieRead(a)


@pytest.mark.parametrize("d", DIVERGENCES, ids=repr)
def test_max_radius_of_bad_rows_is_nan(d):
    assert np.isnan(cp.max_radius(d, np.array([0.0, NAN])))


def test_objectives():
    ratio = np.array([1.0, -1.0, 2.0])
    for found in (cp.reweighted(X, ratio), cp.target_dro(X, ratio, cp.KL(), radius=0.1), cp.dora(X, ratio, 1.0)):
        with pytest.raises(RuntimeError, match="negative|NaN"):
            cp.raise_on_failure(found)
    # two negative masses do not multiply to a valid one
    assert int(cp.reweighted(X, ratio, prior=ratio).status) >= cp.Status.NOT_CONVERGED
    with pytest.raises(ValueError, match="give exactly one of them"):
        cp.target_dro(X, np.ones(3), cp.KL())
    with pytest.raises(ValueError, match="give exactly one of them"):
        cp.target_dro(X, np.ones(3), cp.KL(), penalty=1.0, radius=1.0)


def test_spectra():
    for wrong in (lambda: cp.Superquantile(0.0), lambda: cp.Extremile(0.5), lambda: cp.Exponential(-1.0)):
        with pytest.raises(ValueError, match="a float .* is needed"):
            wrong()
    with pytest.raises(TypeError, match="pass an instance such as Superquantile"):
        cp.spectral(X, cp.Extremile)


WRONG = ["a", "0.5", None, True, NAN, 1j, [0.5], {}, object(), -1.0]
NUMBERS = {
    "level": cp.Superquantile,
    "r": cp.Extremile,
    "r ": cp.Exponential,
    "a": cp.CressieRead,
    "smoothing": lambda v: cp.cvar(X, 0.5, smoothing=v),
    "size_adjustment": lambda v: cp.group_weights(X, np.array([0, 0, 1]), n_groups=2, size_adjustment=v),
    "n_groups": lambda v: cp.group_weights(X, np.array([0, 0, 1]), n_groups=v),
    "n_bins": lambda v: cp.calibration_table(X / 2, X / 2, n_bins=v),
    "alpha": lambda v: cp.fit_ulsif(target=TARGET, train=TRAIN, alpha=v),
    "bandwidth": lambda v: cp.fit_kliep(target=TARGET, train=TRAIN, bandwidth=_given(v)),
    "bandwidth ": lambda v: cp.gaussian_features(target=TARGET, train=TRAIN, bandwidth=_given(v)),
    "penalty": lambda v: cp.fit_logistic(target=TARGET, train=TRAIN, penalty=_given(v)),
    "n_centres": lambda v: cp.fit_ulsif(target=TARGET, train=TRAIN, n_centres=v),
    "tilts": lambda v: cp.fit_ulsif(target=TARGET, train=TRAIN, tilts="x" if v is True else v),
    "folds": lambda v: cp.fit_kliep(target=TARGET, train=TRAIN, folds=_given(v)),
    "tolerance": lambda v: cp.fit_kliep(target=TARGET, train=TRAIN, tolerance=_given(v)),
    "bound": lambda v: cp.kernel_mean_matching(target=TARGET, train=TRAIN, bound=v),
    "slack": lambda v: cp.kernel_mean_matching(target=TARGET, train=TRAIN, slack=_given(v)),
    "confidence": lambda v: cp.estimate_target_share(X, X, confidence=v),
    "steps": lambda v: cp.label_shift(-W, train_shares=np.ones(2), steps=v),
    "share": lambda v: cp.target_posterior(X, share=v),
    "target_share": lambda v: cp.mixture_ratio(W, target_share=v, other_shares=[0.5, 0.5]),
    "other_shares": lambda v: cp.mixture_ratio(W, target_share=0.0, other_shares=[v, 1.0]),
    "other_shares ": lambda v: cp.mixture_ratio_multinomial(
        W, n_target=1, n_other=[1], target_share=0.5, other_shares=[v]
    ),
    "n_target": lambda v: cp.log_ratio_from_log_odds(W, n_target=v, n_other=1),
    "n_other": lambda v: cp.log_ratio_from_log_odds(W, n_target=1, n_other=[v, 1]),
    "cap": lambda v: cp.policy_ratio(-W, -W, cap=v),
    "cap ": lambda v: cp.kldpo(X, 1.0, cap=v),
    "cap  ": lambda v: cp.truncated_ratio(X, cap=_given(v)),
    "cap   ": lambda v: cp.overlap_report(target_log_ratio=X, train_log_ratio=X, cap=_given(v)),
    "stabiliser": lambda v: cp.stabilised_calibration(
        W, target_share=0.2, other_shares=[0.4, 0.4], stabiliser=_given(v)
    ),
    "slot_shares": lambda v: cp.released_calibration(W / 2, slot_shares=[v, 0.5]),
    "strength": lambda v: cp.ropo(X, strength=v),
    "flip": lambda v: cp.robust_dpo(X, flip=v),
    "micro_batch": lambda v: cp.released_dpo(X, W, micro_batch=v),
}


def _given(value):
    return "a" if value is None or isinstance(value, list) else value


@pytest.mark.parametrize("wrong", WRONG, ids=lambda v: type(v).__name__ + str(v)[:5])
@pytest.mark.parametrize("name", NUMBERS)
def test_what_is_no_number_is_named(name, wrong):
    if name == "a" and wrong == -1.0:
        return  # an exponent
    with pytest.raises((TypeError, ValueError), match=rf"{name.strip()}(\[0\])? is .*(needed|divisor)"):
        NUMBERS[name](wrong)


def test_groups():
    groups = np.array([0, 0, 1])
    with pytest.raises(TypeError, match="groups has dtype float64; integers"):
        cp.group_weights(X, X, n_groups=2)
    with pytest.raises(ValueError, match="n_groups is 0"):
        cp.group_weights(X, groups, n_groups=0)
    with pytest.raises(ValueError, match="give exactly one of penalty and radius"):
        cp.group_weights(X, groups, n_groups=2, divergence=cp.KL())
    with pytest.raises(ValueError, match="give neither penalty nor radius; given: radius"):
        cp.group_weights(X, groups, n_groups=2, radius=1.0)
    with pytest.raises(ValueError, match="size_adjustment is -1"):
        cp.group_weights(X, groups, n_groups=2, size_adjustment=-1.0)
    assert int(cp.group_weights(X, groups, n_groups=1).status) == cp.Status.INVALID_GROUP
    assert int(cp.group_weights(X, groups - 1, n_groups=2).status) == cp.Status.INVALID_GROUP


def test_projections():
    with pytest.raises(TypeError, match="only ChiSquare"):
        cp.project_ball(X, cp.KL(), 0.1)
    for bad in (
        cp.project_simplex(np.array([0.0, NAN])),
        cp.project_ball(X, cp.ChiSquare(), -1.0),
        cp.project_capped_simplex(X, cap=0.3),  # 3 · 0.3 < 1
        cp.project_capped_simplex(X, cap=NAN),
        cp.project_capped_simplex(np.array([0.0, NAN]), cap=1.0),
        cp.project_simplex(X, prior=-X),
    ):
        assert np.isnan(bad).all()
    assert (cp.project_capped_simplex(X, cap=1.0, prior=np.zeros(3)) == 0).all()


W = np.ones((3, 2))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: cp.stabilised_calibration(W, target_share=0.5, other_shares=[0.5]), ValueError, "1 shares, but"),
        (lambda: cp.stabilised_calibration(W, target_share=0.0, other_shares=[0.5, 0.5]), ValueError, "share is 0"),
        (lambda: cp.stabilised_calibration(W, target_share=0.5, other_shares=[0.5, 0.0]), ValueError, r"s\[1\] is 0"),
        (lambda: cp.stabilised_calibration(W, target_share=0.5, other_shares=[0.5, 0.5]), ValueError, "sum to 1.5"),
        (
            lambda: cp.stabilised_calibration(W, target_share=0.2, other_shares=[0.4, 0.4], stabiliser=-1.0),
            ValueError,
            "stabiliser is -1.0",
        ),
        (lambda: cp.released_calibration(np.ones(3)), ValueError, "3 slots; the code has constants for 2, 4 and 6"),
        (lambda: cp.released_calibration(np.ones(2), slot_shares=[1.0]), ValueError, "1 shares for 2 slots"),
        (lambda: cp.released_calibration(np.ones(2), slot_shares=[0.0, 1.0]), ValueError, r"slot_shares\[0\] is 0"),
        (lambda: cp.truncated_ratio(X, cap=0.0), ValueError, "cap is 0.0"),
        (lambda: cp.released_dpo(X, W, micro_batch=2), ValueError, "micro_batch is 2; a divisor of the 3 losses"),
        (lambda: cp.released_lire(X, W, micro_batch=0), ValueError, "micro_batch is 0"),
        (lambda: cp.released_rrhf(X, W, micro_batch=1.0), ValueError, "micro_batch is 1.0"),
        (lambda: cp.paper_dora(X, np.ones(3)), ValueError, "slot_weights has shape"),
        (lambda: cp.paper_dora(X, np.ones((2, 2))), ValueError, "shapes do not broadcast"),
        (lambda: cp.kldpo(X, 1.0, cap=0.0), ValueError, "cap is 0.0"),
        (lambda: cp.conservative_dpo(X, flip=0.5), ValueError, "flip is 0.5; a probability in"),
        (lambda: cp.robust_dpo(X, flip=NAN), ValueError, "flip is nan"),
        (lambda: cp.ropo(X, strength=0.0), ValueError, "strength is 0.0"),
        (lambda: cp.ratio_at_level(X, level="word"), ValueError, "level is 'word'; it is one of token"),
        (lambda: cp.ratio_at_level(np.ones(1), level="pair"), ValueError, "a pair needs two responses"),
        (lambda: cp.ratio_at_level(X, level="list", mask=X), TypeError, "mask has dtype float64; booleans"),
        (lambda: cp.wpo_weights(X, X, X), TypeError, "mask has dtype float64; booleans"),
        (lambda: cp.pair_features(X, np.ones(2), label_aware=True), ValueError, r"shape \(3,\) and rejected \(2,\)"),
        (lambda: cp.label_posterior(X, X, reliability=np.ones(2)), ValueError, "shapes do not broadcast"),
        (lambda: cp.dpo_pro_preference(X, X, X, radius=np.ones(2)), ValueError, "radius has shape"),
    ],
)  # fmt: skip
def test_presets_refuse(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_wrong_values_of_presets_stay_visible():
    bad = np.array([1.0, -1.0, 2.0])
    for found in (
        cp.scaled_dora(X, bad),
        cp.scaled_dora(X, np.array([1.0, math.inf, 1.0])),
        cp.scaled_dora(np.array([0.0, NAN, 1.0]), np.ones(3)),
        cp.scaled_dora(X, np.zeros(3)),
        cp.scaled_dora(X, np.ones(3), spreads=-1.0),
        cp.scaled_dora(X, np.ones(3), prior=bad),
        cp.paper_dora(X, np.stack([bad, bad], axis=1)),
        cp.released_dpo(X, -W),
        cp.released_rrhf(np.array([0.0, NAN, 1.0]), W),
        cp.dr_dpo(X, -1.0),
        cp.kldpo(X, 0.0),
        cp.kldpo(np.array([0.0, NAN, 1.0]), 1.0),
    ):
        with pytest.raises(RuntimeError, match="row"):
            cp.raise_on_failure(found)
    assert np.isnan(cp.truncated_ratio(bad)).any()
    assert np.isnan(cp.released_calibration(np.array([1.5, 0.5]))[0])
    assert np.isnan(cp.label_posterior(X, X, reliability=1.5)).all()
    assert np.isnan(cp.label_posterior(np.array([NAN]), np.array([1.0]), reliability=1.0)).all()
    assert np.isnan(cp.dpo_pro_preference(X, X, bad, radius=0.1))[1:].all()
    assert np.isnan(cp.dpo_pro_preference(X, X, X / 2, radius=-0.1)).all()
    assert np.isnan(cp.conservative_dpo(np.array([NAN]), flip=0.1).losses).all()


def test_an_infinite_loss_takes_all_the_mass_of_scaled_dora():
    found = cp.scaled_dora(np.array([0.0, 1.0, math.inf, -math.inf]), np.ones(4))
    assert found.value == math.inf and int(found.status) < cp.Status.NOT_CONVERGED
    np.testing.assert_allclose(found.weights, [0, 0, 1, 0])


def _ratios(fit, **options):
    def at_train_rows(target, train):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "fewer than about 5 training rows")
            model = fit(target=target, train=train, **options)
        if isinstance(model, cp.Ratio):
            return cp.ratio(model, train)
        return model.weights if isinstance(model, cp.Matching) else np.exp(model.train_log_ratio)

    return at_train_rows


METHODS = [
    "discriminant", "gaussian", "independent", "proportional", "logistic", "quadratic", "kernel", "ulsif", "rulsif",
    "kliep",
]  # fmt: skip
RATIOS = {
    "fit_ulsif": _ratios(cp.fit_ulsif),
    "fit_ulsif relative": _ratios(cp.fit_ulsif, alpha=0.5),
    "fit_ulsif alone": _ratios(cp.fit_ulsif, bandwidth=1.0, penalty=0.1),
    "fit_kliep": _ratios(cp.fit_kliep),
    "fit_log_linear": _ratios(cp.fit_log_linear, penalty=0.1),
    "fit_log_linear gaussian": _ratios(cp.fit_log_linear, features="gaussian", penalty=[0.1, 1.0], bandwidth=1.0),
    "fit_logistic": _ratios(cp.fit_logistic),
    "fit_gaussian": _ratios(cp.fit_gaussian),
    "kernel_mean_matching": _ratios(cp.kernel_mean_matching),
    "cross_fit": _ratios(functools.partial(cp.cross_fit, cp.fit_logistic)),
    "fit_ratio auto": _ratios(cp.fit_ratio),
    **{f"fit_ratio {name}": _ratios(cp.fit_ratio, method=name) for name in METHODS},
}
LIBRARIES = {
    "numpy": np.asarray,
    "torch": lambda x: pytest.importorskip("torch").asarray(x),
    "jax": lambda x: pytest.importorskip("jax").numpy.asarray(x),
}
every_ratio = pytest.mark.parametrize("ratios", RATIOS.values(), ids=RATIOS)
every_library = pytest.mark.parametrize("make", LIBRARIES.values(), ids=LIBRARIES)
RNG = np.random.default_rng(0)
TARGET, TRAIN = RNG.normal(0.5, 1.0, (60, 3)), RNG.normal(0.0, 1.0, (80, 3))


def _with(value):
    spoiled = TRAIN.copy()
    spoiled[3, 1] = value
    return spoiled


@pytest.mark.parametrize(
    ("train", "error", "message"),
    [
        (_with(NAN), ValueError, "train has a NaN or infinite entry in row 3; drop or fill such rows first"),
        (_with(-math.inf), ValueError, "train has a NaN or infinite entry in row 3"),
        (TRAIN[:0], ValueError, r"train has shape \(0, 3\); a table of at least one row and one feature"),
        (TRAIN[:, :0], ValueError, r"train has shape \(80, 0\)"),
        (TRAIN[None], ValueError, r"train has shape \(1, 80, 3\)"),
        (np.array(1.0), ValueError, r"train has shape \(\)"),
        (TRAIN[:, :2], ValueError, "different numbers of features .target: 3, train: 2."),
        (TRAIN.astype(complex), TypeError, "train has dtype complex128; real numbers are needed: floats, integers or"),
        (TRAIN.astype(object), TypeError, "train has dtype object; real numbers"),
        (TRAIN.astype(str), TypeError, "train has dtype <U32; real numbers"),
        (TRAIN.tolist(), TypeError, "train is a list, not an array; pass a numpy, torch, jax"),
        (None, TypeError, "train is None; an array is needed"),
        (np.ma.masked_array(TRAIN, TRAIN > 1), TypeError, "train is a numpy MaskedArray"),
    ],
    ids=["nan", "inf", "empty", "no column", "3-d", "0-d", "width", "complex", "object", "str", "list", "None", "mask"],
)
@every_ratio
def test_samples_that_cannot_be_used(ratios, train, error, message):
    with pytest.raises(error, match=message):
        ratios(TARGET, train)
    other = TARGET if np.shape(train) == (80, 2) else TRAIN
    swapped = "target: 2, train: 3" if other is TARGET else message.replace("train", "target", 1)
    with pytest.raises(error, match=swapped):
        ratios(train, other)


@every_ratio
def test_samples_of_two_libraries(ratios):
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match="arrays of different libraries .target: torch, train: numpy"):
        ratios(torch.asarray(TARGET), TRAIN)


@pytest.mark.parametrize("units", [1e4, 1e-4, 1e30, 1e-30, [1e4, 1.0, 1e-30]], ids=str)
@every_ratio
def test_units_do_not_change_a_ratio(ratios, units):
    plain, scaled = ratios(TARGET, TRAIN), ratios(TARGET * units, TRAIN * units)
    np.testing.assert_allclose(scaled, plain, rtol=1e-3, atol=1e-6)


@every_library
@every_ratio
def test_constant_columns(ratios, make):
    constant = np.full((80, 1), 0.1, np.float32)
    target, train = (np.concatenate([x, constant[: len(x)]], axis=1) for x in (TARGET, TRAIN))
    found = np.asarray(ratios(make(target.astype("float32")), make(train.astype("float32"))))
    assert np.isfinite(found).all() and (found >= 0).all()
    np.testing.assert_allclose(np.asarray(ratios(make(constant[:60]), make(constant))), 1.0, rtol=1e-4)


@every_library
@every_ratio
def test_samples_fifty_deviations_apart(ratios, make):
    with pytest.warns(UserWarning, match="samples (hardly|do not) overlap") as heard:
        found = np.asarray(ratios(make(TARGET + 50), make(TRAIN)))
    assert np.isfinite(found).all() and (found >= 0).all()
    assert {str(w.filename) for w in heard} <= {__file__}


@pytest.mark.parametrize("dtype", ["float16", "float32", "int64", "uint8", "bool"])
@every_ratio
def test_numbers_of_every_kind(ratios, dtype):
    target, train = ((np.round(2 * x) + 10).astype("uint8") for x in (TARGET, TRAIN))
    if dtype == "bool":
        target, train = target > 10, train > 10
    plain, found = (
        ratios(target.astype("float64"), train.astype("float64")),
        ratios(*(x.astype(dtype) for x in (target, train))),
    )
    eps = 4 * float(np.finfo(dtype).eps) if dtype.startswith("float") else 1e-12
    np.testing.assert_allclose(np.asarray(found, "float64"), plain, rtol=eps, atol=eps)


@every_ratio
def test_vectors_copies_and_arrays_that_cannot_be_written(ratios):
    target, train = TARGET[:, 0].copy(), TRAIN[:, 0].copy()
    target.flags.writeable = train.flags.writeable = False
    found = ratios(target, train)
    np.testing.assert_allclose(found, ratios(target[:, None], train[:, None]), rtol=1e-12)
    assert np.isfinite(ratios(np.repeat(TARGET[:2], 30, axis=0), np.repeat(TRAIN, 2, axis=0))).all()


@pytest.mark.parametrize(("n_t", "n_s"), [(1, 80), (60, 1), (1, 1), (2, 2), (3, 80)])
@every_ratio
def test_few_rows(ratios, n_t, n_s):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            found = ratios(TARGET[:n_t], TRAIN[:n_s])
        except ValueError as error:  # a grid and an average need rows to hold out
            assert min(n_t, n_s) == 1 and re.search("more rows|Pass method='discriminant'", str(error)), error
        else:
            assert np.isfinite(found).all() and (found >= 0).all()


@every_ratio
def test_more_columns_than_rows(ratios):
    target, train = RNG.normal(0.2, 1.0, (12, 40)), RNG.normal(0.0, 1.0, (15, 40))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        found = ratios(target, train)
    assert np.isfinite(found).all() and (found >= 0).all()


def test_half_precision_holds_ratios_up_to_its_largest_number():
    model = cp.fit_gaussian(target=TARGET + 2.5, train=TRAIN, shared=True)
    x = np.repeat(np.array([[2.0], [2.5], [3.0]], "float16"), 3, axis=1)
    wide = cp.ratio(model, x.astype("float64"))
    assert 100 < wide[0] < 1000 < wide[1] < 60000 < 1e6 < wide[2]
    with pytest.warns(UserWarning, match="1 of 3 ratios are above 7e.04 and were cut"):
        found = cp.ratio(model, x)
    np.testing.assert_allclose(found[:2], wide[:2], rtol=float(np.finfo("float16").eps))
    assert found.dtype == "float16" and found[2] == np.finfo("float16").max
    assert cp.log_ratio(model, np.full((1, 3), -6e4, "float16")) == -math.inf


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int32"])
@pytest.mark.parametrize("fit", [cp.fit_ratio, cp.fit_kliep, functools.partial(cp.fit_logistic, features="gaussian")])
def test_jax_arrays_are_fitted_as_numpy_fits_their_numbers(fit, dtype):
    jnp = pytest.importorskip("jax").numpy
    target, train = (jnp.asarray(4 * x).astype(dtype) for x in (TARGET, TRAIN))
    plain = fit(target=np.asarray(target.astype("float32")), train=np.asarray(train.astype("float32")))
    found = fit(target=target, train=train)
    assert type(found.coefficients) is type(target) and found.coefficients.dtype == "float32"
    np.testing.assert_allclose(found.coefficients, plain.coefficients, rtol=1e-6)


def test_jax_arrays_inside_arguments_are_lent_too():
    jnp = pytest.importorskip("jax").numpy
    target, train = jnp.asarray(TARGET), jnp.asarray(TRAIN)
    features = cp.gaussian_features(target=target, train=train)
    first = cp.fit_logistic(target=target, train=train, features=features, penalty=np.float64(0.1))
    again = cp.fit_logistic(target=target, train=train, start=first)
    np.testing.assert_allclose(again.coefficients, first.coefficients, rtol=1e-4, atol=1e-4)
    assert type(again.features.centres) is type(target)
