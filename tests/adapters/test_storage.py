"""What is saved comes back bit for bit; whatever else a file holds is a ValueError, never another ratio."""

import io
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from counterpoise_adapters import _stored
from counterpoise_adapters._containers import pack, read
from counterpoise_adapters.storage import load_ratio, save_ratio
from hypothesis import given
from hypothesis import strategies as st

import counterpoise as cp

SUFFIXES = (".npz", ".safetensors")


def make_models():
    rng = np.random.default_rng(0)
    target, train = rng.normal(0.5, 1, (40, 2)), rng.normal(0, 1, (60, 2))
    data = {"target": target, "train": train}
    models = {
        "ulsif": cp.fit_ulsif(**data, alpha=0.1, n_centres=5),
        "kliep": cp.fit_kliep(**data, n_centres=5),
        "log_linear": cp.fit_log_linear(**data),
        "logistic": cp.fit_logistic(**data, features="quadratic"),
        "kernel": cp.fit_logistic(**data, features="gaussian", n_centres=5),
        "gaussian": cp.fit_gaussian(**data),
        "student": cp.fit_ratio(**data, method="student"),
        "tails": cp.fit_kliep(**data, n_centres=5, tilts="student"),
        "one": cp.fit_ratio(target=rng.normal(0, 1, (60, 2)), train=train),  # has an infinite penalty
        "auto": cp.fit_ratio(target=target + 1, train=train),
    }
    share, zero = np.array([0.25, 0.75]), np.float64(0)
    average = cp.Ratio("average", None, share, 0.0, zero, zero, None, (models["ulsif"], models["gaussian"]))
    comparison = cp.Comparison(("one", "λ\ud800"), *np.array([[np.inf, 1.0], [np.nan, 0.0], [0.1, 0.0]]))
    models["average"] = average._replace(comparison=comparison)
    noise = np.linspace(0, 1, 12).reshape(2, 6)
    models["doubted"] = average._replace(members=(models["ulsif"], models["gaussian"]._replace(noise=noise)))
    models["nested"] = average._replace(members=(average, models["logistic"]))
    return models


MODELS = make_models()


def same(a, b):
    """Whether two ratios are equal in every shape, dtype and bit; numpy's fits have scalars for some 0-d arrays."""
    if isinstance(a, tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, np.ndarray | np.generic):
        return isinstance(b, np.ndarray | np.generic) and (a.dtype, a.shape, a.tobytes()) == (
            b.dtype,
            b.shape,
            b.tobytes(),
        )
    return type(a) is type(b) and a == b


def content(model, suffix):
    """What the file of a ratio holds."""
    with tempfile.TemporaryDirectory() as folder:
        save_ratio(model, Path(folder) / f"ratio{suffix}")
        return (Path(folder) / f"ratio{suffix}").read_bytes()


def loaded(data, suffix):
    """The ratio in these bytes, or None for one that is refused as it should be."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"ratio{suffix}"
        path.write_bytes(data)
        try:
            return load_ratio(path)
        except ValueError as error:
            assert str(path) in str(error) and len(str(error)) > len(str(path)) + 10
            return None


def parts(model):
    """Header and arrays of a ratio."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ratio.npz"
        save_ratio(model, path)
        text, arrays = read(path, lambda text: None)
    return json.loads(text), arrays


def forged(header, arrays, suffix=".npz"):
    """A file with a digest that fits whatever it holds."""
    body = {key: value for key, value in header.items() if key != "digest"}
    return pack(suffix, json.dumps({**body, "digest": _stored.digest_of(body, arrays)}), arrays)


def refusal(data, tmp_path, suffix=".npz"):
    path = tmp_path / f"ratio{suffix}"
    path.write_bytes(data)
    with pytest.raises(ValueError) as caught:
        load_ratio(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", MODELS)
def test_round_trip_is_exact(tmp_path, name, suffix):
    model, path = MODELS[name], tmp_path / f"ratio{suffix}"
    save_ratio(model, path)
    again = load_ratio(path)
    assert same(again, model)
    x = np.random.default_rng(1).normal(0, 1, (7, 2))
    assert same(cp.log_ratio(again, x), cp.log_ratio(model, x))
    assert os.listdir(tmp_path) == [path.name]
    (tmp_path / "other").touch()
    assert path.stat().st_mode == (tmp_path / "other").stat().st_mode


def test_the_ratios_that_are_stored_have_what_they_are_there_for():
    assert MODELS["one"].penalty == np.inf
    assert MODELS["auto"].cap is not None
    assert any(member.noise is not None for member in MODELS["doubted"].members)


def test_every_field_is_known_to_the_format():
    assert cp.Ratio._fields == (
        "method", "features", "coefficients", "alpha", "penalty", "gap", "scores", "members", "comparison", "cap",
        "noise",
    )  # fmt: skip
    assert cp.Features._fields == ("kind", "shift", "scale", "centres", "bandwidth", "tilts", "share", "tails")
    assert cp.Scores._fields == ("bandwidth", "penalty", "score")
    assert cp.Comparison._fields == ("methods", "score", "difference", "standard_error")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_same_ratio_gives_the_same_bytes(suffix):
    assert content(MODELS["average"], suffix) == content(MODELS["average"], suffix)


def test_the_formats_own_readers_can_read_them(tmp_path):
    for suffix in SUFFIXES:
        save_ratio(MODELS["auto"], tmp_path / f"ratio{suffix}")
    with np.load(tmp_path / "ratio.npz", allow_pickle=False) as file:
        assert json.loads(file["header"].tobytes())["format"] == "counterpoise-ratio"
        theta = file["coefficients"]
    again = pytest.importorskip("safetensors.numpy").load_file(tmp_path / "ratio.safetensors")["coefficients"]
    assert same(theta, again) and same(theta, MODELS["auto"].coefficients)


@given(st.sampled_from(sorted(MODELS)), st.sampled_from(SUFFIXES), st.data())
def test_a_damaged_file_is_refused_or_the_same_ratio(name, suffix, data):
    whole = bytearray(content(MODELS[name], suffix))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.one_of(st.integers(0, 200), st.integers(-1200, -1), st.integers(0, len(whole) - 1)))
        whole[at % len(whole)] ^= data.draw(st.integers(1, 255))
    again = loaded(bytes(whole), suffix)
    assert again is None or same(again, MODELS[name])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_bit_in_any_region_counts_or_does_not_matter(suffix, tmp_path):
    model = MODELS["gaussian"]
    whole, path = content(model, suffix), tmp_path / f"ratio{suffix}"
    for at in range(0, len(whole), 3):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << at % 8)]) + whole[at + 1 :])
        try:
            assert same(load_ratio(path), model), at
        except ValueError as error:
            assert str(path) in str(error)


@given(st.sampled_from(SUFFIXES), st.data())
def test_a_cut_file_is_refused(suffix, data):
    whole = content(MODELS["auto"], suffix)
    assert loaded(whole[: data.draw(st.integers(0, len(whole) - 1))], suffix) is None


@given(st.binary(max_size=400), st.sampled_from(SUFFIXES), st.sampled_from([b"", b"PK\x05\x06", b"PK\x03\x04"]))
def test_random_bytes_are_refused(noise, suffix, start):
    assert loaded(start + noise, suffix) is None
    assert loaded(len(noise).to_bytes(8, "little") + noise, suffix) is None


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["average", "linear"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def places(part, path=()):
    """Every place in a JSON value."""
    yield path
    for key in part if isinstance(part, dict) else range(len(part)) if isinstance(part, list) else ():
        yield from places(part[key], (*path, key))


def put(part, path, value):
    if not path:
        return value
    entries = dict(part) if isinstance(part, dict) else list(part)
    entries[path[0]] = put(part[path[0]], path[1:], value)
    return entries


@given(st.sampled_from(sorted(MODELS)), st.sampled_from(SUFFIXES), anything, st.booleans(), st.data())
def test_an_edited_header_is_refused_or_makes_a_ratio_that_evaluates(name, suffix, value, fitting, data):
    header, arrays = parts(MODELS[name])
    edited = put(header, data.draw(st.sampled_from(list(places(header)))), value)
    if fitting and isinstance(edited, dict):
        again = loaded(forged(edited, arrays, suffix), suffix)
        if again is not None:
            assert cp.ratio(again, np.zeros((3, 2))).shape == (3,)
    else:
        again = loaded(pack(suffix, json.dumps(edited), arrays), suffix)
        assert again is None or same(again, MODELS[name])


@given(st.sampled_from(sorted(MODELS)), st.sampled_from(SUFFIXES), st.data())
def test_arrays_of_other_shapes_dtypes_and_values_are_refused(name, suffix, data):
    header, arrays = parts(MODELS[name])
    key = data.draw(st.sampled_from(sorted(arrays)))
    change = data.draw(st.sampled_from(["axis", "cut", "integers", "half", "missing", "further"]))
    array = arrays.pop(key)
    if change in ("axis", "cut"):
        arrays[key] = array[None] if change == "axis" or array.ndim == 0 else array.reshape(-1)[:-1]
        if same(arrays[key], array):  # centres that there are none of
            return
    elif change != "missing":
        with np.errstate(all="ignore"):
            arrays[key] = array.astype({"integers": np.int64, "half": np.float16}.get(change, array.dtype))
    if change == "further":
        arrays["features.other"] = array
    assert loaded(forged(header, arrays, suffix), suffix) is None


FORGERIES = [
    ("gaussian", ("ratio", "alpha"), 1.0, {}, "alpha is 1.0"),
    ("gaussian", ("ratio", "alpha"), -0.5, {}, "alpha is -0.5"),
    ("gaussian", ("ratio", "alpha"), float("nan"), {}, "alpha is nan"),
    ("gaussian", ("ratio", "method"), "other", {}, "method is 'other'"),
    ("gaussian", ("ratio", "method"), "average", {}, "do not fit 'average'"),
    ("average", ("ratio", "method"), "ulsif", {}, "do not fit 'ulsif'"),
    ("average", ("ratio", "members"), [], {}, "do not fit 'average'"),
    ("gaussian", ("ratio", "features"), "linear", {}, "'coefficients' has shape (6,); (3,) is needed"),
    ("gaussian", ("ratio", "features"), "cubic", {}, "kind is 'cubic'"),
    ("kernel", ("ratio", "features"), "quadratic", {}, "'features.centres' has 5 rows"),
    ("ulsif", ("ratio", "scores"), 1, {}, "scores is 1"),
    ("ulsif", ("ratio", "scores"), False, {}, "no place for the arrays 'scores.bandwidth'"),
    ("gaussian", ("ratio", "scores"), True, {}, "'scores.bandwidth' is missing"),
    ("auto", ("ratio", "comparison", 0), 1, {}, "methods are not names"),
    ("auto", ("ratio", "comparison", 0), ["one"], {}, "methods are not names"),
    ("auto", ("ratio", "comparison"), ["one"], {}, "not one for each method"),
    ("gaussian", ("version",), 0, {}, "version is 0"),
    ("gaussian", ("version",), True, {}, "version is True"),
    ("gaussian", ("version",), "1", {}, "version is '1'"),
    ("gaussian", ("ratio",), [], {}, "does not have the entries"),
    ("gaussian", ("format",), "other", {}, "was not written by save_ratio"),
    ("average", (), {"news": 1}, {}, "and no others"),
    ("average", ("ratio",), {"news": 1}, {}, "and no others"),
    ("gaussian", (), {}, {"features.centres": (0, 3)}, "there are 2 features"),
    ("gaussian", (), {}, {"features.centres": (1, 2)}, "has 1 rows"),
    ("gaussian", (), {}, {"features.scale": (3,)}, "differ in shape"),
    ("log_linear", (), {},
     {"features.shift": (0,), "features.scale": (0,), "features.centres": (0, 0), "coefficients": (1,)}, "are empty"),
    ("ulsif", (), {}, {"scores.score": (1, 1)}, "'scores.score' has shape (1, 1)"),
    ("ulsif", (), {}, {"features.tilts": (1, 4)}, "3 or 6 columns are needed"),
    ("ulsif", (), {}, {"features.tilts": (2, 3)}, "'coefficients' has shape"),
    ("ulsif", (), {}, {"features.share": ()}, "'features.share' is 1.0"),
    ("ulsif", ("ratio", "tilts"), False, {}, "tilts is no true"),
    ("kernel", ("ratio",), {"tilts": True}, {}, "the array 'features.tilts' is missing"),
    ("gaussian", ("ratio",), {"tilts": True}, {}, "have tilts, which quadratic ones cannot"),
    ("ulsif", ("ratio",), {"tails": True}, {}, "have tails and tilts, which gaussian ones cannot"),
    ("student", ("ratio", "features"), "linear", {}, "have tails, which linear ones cannot"),
    ("gaussian", ("ratio", "features"), "student", {}, "have no tails, which student ones cannot"),
    ("tails", (), {}, {"features.tails": (8, 2)}, "'features.tails' are not 9 rows and 2 columns"),
    ("auto", ("ratio", "cap"), False, {}, "cap is no true"),
    ("auto", (), {}, {"cap": (1,)}, "'cap' has shape (1,)"),
    ("average", ("ratio",), {"cap": True}, {}, "the array 'cap' is missing"),
    ("doubted", (), {}, {"members.1.noise": (2, 5)}, "'members.1.noise' has shape (2, 5); 6 columns are needed"),
    ("doubted", (), {}, {"members.1.noise": (6,)}, "'members.1.noise' has shape (6,); 2 axes are needed"),
    ("gaussian", ("ratio",), {"noise": True}, {}, "the array 'noise' is missing"),
    ("average", (), {}, {"members.1.features.shift": (1,), "members.1.features.scale": (1,),
     "members.1.features.centres": (0, 1), "members.1.coefficients": (3,)}, "differ in their number of features"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "place", "value", "shapes", "reason"), FORGERIES)
def test_what_does_not_fit_is_refused_for_its_own_reason(tmp_path, name, place, value, shapes, reason):
    header, arrays = parts(MODELS[name])
    if isinstance(value, dict):  # further entries
        old = header["ratio"] if place else header
        value = {**old, **value}
    edited = put(header, place, value)
    for key, shape in shapes.items():
        assert key in arrays
        arrays[key] = np.ones(shape)
    for suffix in SUFFIXES:
        assert reason in refusal(forged(edited, arrays, suffix), tmp_path, suffix)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_cannot_be_evaluated_are_refused(bad, tmp_path):
    fields = ("shift", "scale", "centres", "bandwidth", "tilts", "share")
    for key in ("coefficients", *(f"features.{field}" for field in fields)):
        header, arrays = parts(MODELS["ulsif"])
        arrays[key].reshape(-1)[:1] = bad
        assert f"{key!r} has NaN or infinite entries" in refusal(forged(header, arrays), tmp_path)
    for key in ("features.scale", "features.bandwidth"):
        header, arrays = parts(MODELS["ulsif"])
        arrays[key].reshape(-1)[:1] = 0.0
        assert "not positive" in refusal(forged(header, arrays), tmp_path)
    for row in (1, 3, 4, 6):
        header, arrays = parts(MODELS["student"])
        arrays["features.tails"][row, 1] = 0.0
        assert "no positive freedom or spread" in refusal(forged(header, arrays), tmp_path)
    header, arrays = parts(MODELS["ulsif"])
    arrays["penalty"][...] = -1.0
    assert "'penalty' is -1.0" in refusal(forged(header, arrays), tmp_path)
    header, arrays = parts(MODELS["doubted"])
    arrays["members.1.noise"][0, 0] = bad
    assert "'members.1.noise' has NaN or infinite entries" in refusal(forged(header, arrays), tmp_path)
    header, arrays = parts(MODELS["average"])
    header["ratio"]["noise"], arrays["noise"] = True, np.ones((1, 2))
    assert "columns are needed, and no average" in refusal(forged(header, arrays), tmp_path)
    for name, value in (("auto", np.inf), ("auto", np.nan), ("gaussian", 2.0)):
        header, arrays = parts(MODELS[name])
        header["ratio"]["cap"], arrays["cap"] = True, np.array(value)
        assert "only averages have one, a finite number" in refusal(forged(header, arrays), tmp_path)


def test_a_file_from_before_ratios_were_capped_or_doubted_is_read():
    header, _ = parts(MODELS["average"])
    assert not {"cap", "noise"} & set(header["ratio"]) and header["version"] == 1
    assert parts(MODELS["auto"])[0]["ratio"]["cap"] is True


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_later_version_says_so_and_a_digest_that_differs(suffix, tmp_path):
    header, arrays = parts(MODELS["gaussian"])
    later = pack(suffix, json.dumps({**header, "version": 2, "news": []}), {"other": arrays["gap"]})
    assert "version 2" in refusal(later, tmp_path, suffix) and "update" in refusal(later, tmp_path, suffix)
    arrays["coefficients"][0] += 1e-16 + np.spacing(arrays["coefficients"][0])
    assert "digest" in refusal(pack(suffix, json.dumps(header), arrays), tmp_path, suffix)


def test_deep_headers_are_refused(tmp_path):
    deep = (
        '{"format": "counterpoise-ratio", "version": 1, "digest": "", "ratio": ' + "[" * 100_000 + "]" * 100_000 + "}"
    )
    for suffix in SUFFIXES:
        refusal(pack(suffix, deep, {"gap": np.zeros(())}), tmp_path, suffix)
    model = MODELS["gaussian"]
    for _ in range(20):
        model = MODELS["average"]._replace(members=(model, model)[:1], coefficients=np.ones(1))
    with pytest.raises(ValueError, match="deeper than 16"):
        save_ratio(model, tmp_path / "deep.npz")


def archive(entries, compression=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as target:
        for name, data in entries.items():
            target.writestr(name, data)
    return file.getvalue()


def npy(shape, data=b"", descr="<f8"):
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + data


def test_sizes_that_are_only_claimed_are_not_allocated(tmp_path):
    header, _ = parts(MODELS["gaussian"])
    text = np.frombuffer(json.dumps(header).encode(), np.uint8)
    text = npy(text.shape, text.tobytes(), "|u1")
    table = {"__metadata__": {"header": json.dumps(header)}}
    table["gap"] = {"dtype": "F64", "shape": [2**40], "data_offsets": [0, 2**43]}
    table = json.dumps(table).encode()
    bombs = {
        "a claim": (archive({"header.npy": text, "gap.npy": npy((2**40,))}), ".npz"),
        "a claim of the header": (archive({"header.npy": npy((2**40,), descr="|u1")}), ".npz"),
        "a negative claim": (archive({"header.npy": text, "gap.npy": npy((-1, -8), bytes(64))}), ".npz"),
        "an overflow": (archive({"header.npy": text, "gap.npy": npy((2**62, 4))}), ".npz"),
        "objects": (archive({"header.npy": text, "gap.npy": npy((1,), bytes(8), "|O")}), ".npz"),
        "zipped zeros": (archive({"header.npy": text, "gap.npy": bytes(2**28)}, zipfile.ZIP_DEFLATED), ".npz"),
        "a long header": (archive({"header.npy": npy((2**24,), bytes(2**24), "|u1")}), ".npz"),
        "a table": (len(table).to_bytes(8, "little") + table, ".safetensors"),
        "a length": ((2**63).to_bytes(8, "little") + b"{}", ".safetensors"),
        "a length within": ((2**23).to_bytes(8, "little") + bytes(2**23), ".safetensors"),
    }
    load_ratio_once = content(MODELS["gaussian"], ".safetensors")
    assert loaded(load_ratio_once, ".safetensors") is not None  # imports count as allocations
    for name, (data, suffix) in bombs.items():
        path = tmp_path / f"bomb{suffix}"
        path.write_bytes(data)
        tracemalloc.start()
        with pytest.raises(ValueError, match="bomb"):
            load_ratio(path)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 2**21, name


class Trap:
    def __reduce__(self):
        return os._exit, (66,)


def test_pickles_are_not_opened(tmp_path):
    np.savez(tmp_path / "trap.npz", header=np.array([Trap()], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="no npy file"):
        load_ratio(tmp_path / "trap.npz")


def test_foreign_files_are_refused(tmp_path):
    np.savez(tmp_path / "arrays.npz", a=np.zeros(3))
    with pytest.raises(ValueError, match="was not written by save_ratio"):
        load_ratio(tmp_path / "arrays.npz")
    np.savez_compressed(tmp_path / "zipped.npz", header=np.zeros(3))
    with pytest.raises(ValueError, match="compressed"):
        load_ratio(tmp_path / "zipped.npz")
    pytest.importorskip("safetensors.numpy").save_file({"a": np.zeros(3)}, tmp_path / "arrays.safetensors")
    with pytest.raises(ValueError, match="was not written by save_ratio"):
        load_ratio(tmp_path / "arrays.safetensors")
    os.mkfifo(tmp_path / "pipe.npz")
    (tmp_path / "folder.npz").mkdir()
    for name in ("pipe.npz", "folder.npz"):
        with pytest.raises(ValueError, match="not a regular file"):
            load_ratio(tmp_path / name)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_missing_file_is_missing(tmp_path, suffix):
    with pytest.raises(FileNotFoundError):
        load_ratio(tmp_path / f"nothing{suffix}")


@pytest.mark.parametrize("name", ["ratio", "ratio.pkl", "ratio.npz.gz"])
def test_other_suffixes_are_refused(tmp_path, name):
    for call in (lambda path: save_ratio(MODELS["gaussian"], path), load_ratio):
        with pytest.raises(ValueError, match=r"\.npz or \.safetensors is needed"):
            call(tmp_path / name)


def test_models_that_could_not_be_loaded_are_not_saved(tmp_path):
    model, path = MODELS["gaussian"], tmp_path / "ratio.npz"
    with pytest.raises(TypeError, match="model is a dict"):
        save_ratio({}, path)
    with pytest.raises(TypeError, match="coefficients has dtype float16"):
        save_ratio(model._replace(coefficients=model.coefficients.astype(np.float16)), path)
    with pytest.raises(TypeError, match="model's gap"):
        save_ratio(model._replace(gap=None), path)
    with pytest.raises(ValueError, match="'coefficients' has NaN"):
        save_ratio(model._replace(coefficients=model.coefficients * np.nan), path)
    with pytest.raises(ValueError, match="'coefficients' has shape"):
        save_ratio(model._replace(coefficients=model.coefficients[:-1]), path)
    many = ("x" * 1000,) * 5000
    comparison = cp.Comparison(many, *np.zeros((3, 5000)))
    for suffix in SUFFIXES:
        with pytest.raises(ValueError, match="at most"):
            save_ratio(model._replace(comparison=comparison), path.with_suffix(suffix))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_existing_file_stays_unless_it_is_to_go(tmp_path, suffix):
    path = tmp_path / f"ratio{suffix}"
    path.write_bytes(b"precious")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        save_ratio(MODELS["gaussian"], path)
    assert path.read_bytes() == b"precious" and os.listdir(tmp_path) == [path.name]
    save_ratio(MODELS["gaussian"], path, overwrite=True)
    assert same(load_ratio(path), MODELS["gaussian"]) and os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_full_disk_leaves_no_part_and_what_was_there(tmp_path, overwrite):
    path = tmp_path / "ratio.npz"
    if overwrite:
        path.write_bytes(b"precious")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            save_ratio(MODELS["ulsif"], path, overwrite=overwrite)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.listdir(tmp_path) == (["ratio.npz"] if overwrite else [])
    assert not overwrite or path.read_bytes() == b"precious"


def test_folders_that_cannot_be_written_to(tmp_path):
    with pytest.raises(FileNotFoundError, match="the folder does not exist"):
        save_ratio(MODELS["gaussian"], tmp_path / "none" / "ratio.npz")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError):
        save_ratio(MODELS["gaussian"], tmp_path / "file" / "ratio.npz")
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(OSError):
        save_ratio(MODELS["gaussian"], tmp_path / "folder.npz", overwrite=True)
    assert sorted(os.listdir(tmp_path)) == ["file", "folder.npz"]
    if os.geteuid() != 0:
        tmp_path.chmod(0o500)
        with pytest.raises(PermissionError):
            save_ratio(MODELS["gaussian"], tmp_path / "ratio.npz")
        tmp_path.chmod(0o700)


def race(path, barrier, wins):
    barrier.wait()
    try:
        save_ratio(MODELS["gaussian"], path)
        wins.put(1)
    except FileExistsError:
        wins.put(0)


def test_of_two_writers_one_wins(tmp_path):
    context = multiprocessing.get_context("fork")
    barrier, wins = context.Barrier(2), context.SimpleQueue()
    writers = [context.Process(target=race, args=(tmp_path / "ratio.npz", barrier, wins)) for _ in range(2)]
    for writer in writers:
        writer.start()
    assert wins.get() + wins.get() == 1
    for writer in writers:
        writer.join()
    assert same(load_ratio(tmp_path / "ratio.npz"), MODELS["gaussian"]) and os.listdir(tmp_path) == ["ratio.npz"]


def test_big_endian_and_strided_arrays(tmp_path):
    model = MODELS["gaussian"]
    features = model.features._replace(shift=np.repeat(model.features.shift, 2)[::2])
    odd = model._replace(coefficients=model.coefficients.astype(">f8"), features=features)
    for suffix in SUFFIXES:
        save_ratio(odd, tmp_path / f"ratio{suffix}")
        assert same(load_ratio(tmp_path / f"ratio{suffix}"), model)


LIBRARIES = {"torch": "torch", "jax": "jax.numpy", "strict": "array_api_strict", "dask": "dask.array", "numpy": "numpy"}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("library", LIBRARIES)
def test_other_libraries_arrays_in_and_out(tmp_path, library, suffix):
    make = pytest.importorskip(LIBRARIES[library]).asarray
    x = make(np.random.default_rng(0).normal(0, 1, (9, 2)))
    path, model = tmp_path / f"ratio{suffix}", MODELS["average"]
    save_ratio(model, tmp_path / f"first{suffix}")
    there = load_ratio(tmp_path / f"first{suffix}", like=x)
    save_ratio(there, path)
    plain, again = load_ratio(path), load_ratio(path, like=x)
    for ratio in (there, again):
        assert type(ratio.coefficients) is type(ratio.members[0].features.bandwidth) is type(x)
        assert ratio.coefficients.dtype == x.dtype and ratio.members[0].scores.score.ndim == 2
    assert isinstance(plain.coefficients, np.ndarray)
    assert library == "jax" or same(plain, model)  # which has no float64 here
    assert np.array_equal(np.asarray(cp.log_ratio(there, x)), np.asarray(cp.log_ratio(again, x)))
    np.testing.assert_allclose(
        np.asarray(cp.log_ratio(again, x)), cp.log_ratio(model, np.asarray(x, dtype=np.float64)), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("library", ["torch", "array_api_strict"])
def test_fits_of_other_libraries(tmp_path, library):
    xp = pytest.importorskip(library)
    x = xp.asarray(np.random.default_rng(0).normal(0, 1, (40, 2)))
    model = cp.fit_ulsif(target=x[:15, :], train=x[15:, :], n_centres=5)
    save_ratio(model, tmp_path / "ratio.npz")
    again = load_ratio(tmp_path / "ratio.npz", like=x)
    assert np.array_equal(np.asarray(cp.ratio(again, x)), np.asarray(cp.ratio(model, x)))


def test_like_a_library_without_float64(tmp_path):
    jax = pytest.importorskip("jax")
    save_ratio(MODELS["auto"], tmp_path / "ratio.npz")
    x = jax.numpy.zeros((3, 2))
    assert x.dtype == "float32"
    again = load_ratio(tmp_path / "ratio.npz", like=x)
    assert again.coefficients.dtype == "float32"
    np.testing.assert_allclose(cp.ratio(again, x), cp.ratio(MODELS["auto"], np.zeros((3, 2))), rtol=1e-4)
    with pytest.raises(TypeError, match="like is a list"):
        load_ratio(tmp_path / "ratio.npz", like=[1.0])


def test_torch_tensors_that_need_gradients_or_are_bfloat16(tmp_path):
    torch = pytest.importorskip("torch")
    model = MODELS["gaussian"]
    save_ratio(model._replace(coefficients=torch.tensor(model.coefficients, requires_grad=True)), tmp_path / "a.npz")
    assert same(load_ratio(tmp_path / "a.npz"), model)
    with pytest.raises(TypeError, match="model's coefficients"):
        save_ratio(model._replace(coefficients=torch.tensor(model.coefficients).bfloat16()), tmp_path / "b.npz")


def test_without_safetensors_a_message_says_what_to_install(tmp_path):
    code = f"""
import sys
sys.modules["safetensors"] = None
import numpy as np, counterpoise as cp
from counterpoise_adapters.storage import load_ratio, save_ratio
x = np.array([[0.0], [1.0], [3.0]])
model = cp.fit_gaussian(target=x, train=x + 1)
save_ratio(model, {str(tmp_path / "a.npz")!r})
for call in (lambda path: save_ratio(model, path), load_ratio):
    try:
        call({str(tmp_path / "a.safetensors")!r})
    except ImportError as error:
        print(error)
assert not {{"torch", "jax", "scipy"}} & set(sys.modules)
"""
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout.count("pip install 'counterpoise[safetensors]'") == 2
