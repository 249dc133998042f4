"""The operator test models of the ONNX package: written to a folder, and their gradients compared with differences.

`write FOLDER [--one-per-operator]` puts NAME.onnx and NAME.pickle (the inputs of the first data set) into the folder
and prints one description per model. `check FOLDER` reads on stdin what `ohemgen grad` made of them
([{name, outputs: [{of, file, wrt: [{name, zero}]}]}]) and prints one result per model.

The independent gradient is a finite difference in float64: the model with every float type widened to double, run by
the reference evaluator of the ONNX package, along random directions.
"""

import json
import sys
import warnings

import numpy as np
import onnx
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator

from operator_cases import write
from operator_oracles import Case, Session, Unchecked, in_double, is_random, rounded, wide_value

warnings.filterwarnings("ignore")


def moved_off(base, names, random, scale):
    """The given inputs, moved a little: integers and equal numbers are where an operator has its kinks."""
    result = dict(base)
    for name in names:
        value = np.asarray(base[name])
        result[name] = np.where(np.isfinite(value), value + scale * random.uniform(-1, 1, value.shape), value)
    return result


def difference(oracle, point, name, direction, seed, output, step):
    """The 4-point formula; its error is step⁴/30 of the fifth derivative."""

    def at(factor):
        value = oracle.run({**point, name: point[name] + factor * step * direction}, output)
        if value.shape != seed.shape:
            raise Unchecked("the shape of the output depends on the value")
        return float(np.sum(np.where(seed == 0, 0, value * seed)))

    return (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * step)


def agreement(case, output, names, point, seed, feeds, oracle, got, found, noise):
    """Compares the gradients of `names` at a point; returns those whose derivative is not there, or not by this oracle."""
    of = output["of"]
    value = oracle.run(point, of)
    finite = np.isfinite(value)
    largest = 1 + np.max(np.abs(value[finite]), initial=0)
    left = []
    for name in names:
        gradient = got[f"{name}.grad"]
        if gradient.shape != point[name].shape:
            raise AssertionError(f"{name}.grad has the shape {list(gradient.shape)}, {name} {list(point[name].shape)}")
        worst = 0.0
        # One direction moves every element of a large tensor; a second tells as much and takes as long.
        for _ in range(0 if gradient.size == 0 else 1 if gradient.size > 10_000 else 3):
            direction = np.where(np.isfinite(point[name]), RANDOM_NUMBERS.uniform(-1, 1, point[name].shape), 0)
            if oracle.smooth > 1e-4:
                # Larger steps run into more kinks: few elements at a time.
                direction *= RANDOM_NUMBERS.permutation(direction.size).reshape(direction.shape) < 4
            coarse, fine = (difference(oracle, point, name, direction, seed, of, step) for step in oracle.steps)
            float32_noise = 2.0**-24 * largest * np.sqrt(value.size) * 4 / oracle.steps[1] if oracle.smooth > 1e-4 else 0
            products = np.where(direction == 0, 0, gradient * direction)
            size = np.linalg.norm(products) + abs(fine) + 1e-3 * np.linalg.norm(seed)
            if not abs(coarse - fine) <= oracle.smooth * size + float32_noise + 1e-9 * largest:
                left.append(name)
                break
            error = max(0.0, abs(float(np.sum(products)) - fine) - float32_noise) / max(size, 1e-12)
            allowed = max(oracle.allowed if noise == 0 else 0, 16 * noise)
            if not error <= allowed:
                error = in_float64(output, name, feeds, direction, fine, size)
                if not error <= 1e-5 or oracle.smooth > 1e-4:
                    raise AssertionError(f"{name}.grad of {of} is off by {abs(float(np.sum(products)) - fine) / max(size, 1e-12):.1e}")
                found["rounding"] = True
                error = 0.0
            worst = max(worst, error)
        else:
            found["pairs"] += 1
            found["worst"] = max(found["worst"], worst)
            found["by"] = sorted({*found["by"], oracle.label})
    return left


def in_float64(output, name, feeds, direction, fine, size):
    """The error of the gradient graph itself, evaluated in float64: what is left is no rounding."""
    try:
        wide = ReferenceEvaluator(in_double(onnx.load(output["file"])))
        (gradient,) = wide.run([f"{name}.grad"], {key: wide_value(value) for key, value in feeds.items()})
    except Exception:
        return float("inf")
    return abs(float(np.sum(np.where(direction == 0, 0, gradient * direction))) - fine) / max(size, 1e-12)


RANDOM_NUMBERS = np.random.default_rng(0)


def compare(case, output, found):
    """One output against every input: pairs compared, and those without a derivative where it was looked for."""
    of = output["of"]
    wrt = [item["name"] for item in output["wrt"] if item["name"] not in case.settings]
    found["settings"] += [item["name"] for item in output["wrt"] if item["name"] in case.settings]
    made = Session(onnx.load(output["file"]))
    noise = max([{TensorProto.FLOAT16: 2.0**-11, TensorProto.BFLOAT16: 2.0**-8}.get(code, 0.0) for code in made.codes.values()])
    # Stored tensors are constants of the graph: they stay where the file has them.
    free = [name for name in wrt if name in made.codes]
    if not all(np.asarray(case.base[name]).dtype.kind == "f" for name in wrt):
        raise Unchecked("an input is not given")
    left = list(wrt)
    problems = []
    for scale in [0.1, 0.1, 0.1, 0.03, 0.01, 0.001, 0.0]:
        if not left:
            return
        point = moved_off(case.base, free, RANDOM_NUMBERS, scale)
        for name in free:
            point[name] = rounded(point[name], made.codes[name])
        for oracle in case.oracles:
            if scale < 4 * oracle.steps[0] and oracle.smooth > 1e-4:
                continue
            try:
                value = oracle.run(point, of)
            except Exception as error:
                problems.append(f"{oracle.label}: {type(error).__name__}: {error}"[:160])
                continue
            finite = np.isfinite(value)
            if not finite.all() and scale > 0:
                break
            seed = rounded(np.where(finite, RANDOM_NUMBERS.uniform(-1, 1, value.shape), 0), made.codes[f"{of}.grad"])
            feeds = {**case.feeds, **{name: point[name] for name in free}, f"{of}.grad": seed}
            got = made.run(feeds, [of, *[f"{name}.grad" for name in wrt]])
            if got[of].shape != value.shape:
                problems.append(f"{of} has the shape {list(got[of].shape)}, by the {oracle.label} {list(value.shape)}")
                continue
            off = np.max(np.abs(got[of] - value)[finite], initial=0) / (1 + np.max(np.abs(value[finite]), initial=0))
            if not off <= max(2e-4, 4 * noise):
                problems.append(f"{of} differs from the {oracle.label} by {off:.1e}")
                continue
            left = agreement(case, output, left, point, seed, feeds, oracle, got, found, noise)
            if not left:
                return
    if problems and found["pairs"] == 0 and all("differs" in text or "shape" in text for text in problems):
        raise AssertionError(problems[-1])
    found["kinks"] += [f"{name} of {of}" for name in left]
    if problems and left:
        found["problems"] = sorted(set(problems))


def checked(folder, given):
    global RANDOM_NUMBERS
    found = {"name": given["name"], "pairs": 0, "kinks": [], "settings": [], "by": [], "worst": 0.0}
    # Every model has its own numbers, whichever others are checked.
    RANDOM_NUMBERS = np.random.default_rng(sum(given["name"].encode()))
    try:
        case = Case(folder, given["name"])
        if is_random(case):
            raise Unchecked("random numbers")
        for output in given["outputs"]:
            compare(case, output, found)
    except AssertionError as error:
        return {**found, "failed": str(error)}
    except Unchecked as error:
        return {**found, "unchecked": str(error)}
    except Exception as error:
        kind = "failed" if type(error).__module__.startswith("onnxruntime") else "unchecked"
        return {**found, kind: f"{type(error).__name__}: {error}"[:300]}
    return found


def main():
    if sys.argv[1] == "write":
        json.dump(write(sys.argv[2], "--one-per-operator" in sys.argv), sys.stdout)
        return
    np.seterr(all="ignore")
    for given in json.load(sys.stdin):
        print(json.dumps(checked(sys.argv[2], given)), flush=True)


if __name__ == "__main__":
    main()
