/** Elementwise arithmetic, powers, exponentials and trigonometry. */

import { defineGradients, nonDifferentiable } from "../registry.ts";
import { shareAmongTies } from "./ties.ts";

export const arithmetic = defineGradients({
  Identity: ({ dy }) => [dy],
  Add: ({ dy }) => [dy, dy],
  Sub: ({ op, dy }) => [dy, op.neg(dy)],
  Mul: ({ op, x: [a, b], dy }) => [op.mul(dy, b), op.mul(dy, a)],
  // y = a/b, so dy/db = -y/b.
  Div({ op, x: [, b], y: [y], dy }) {
    const da = op.div(dy, b);
    return [da, op.neg(op.mul(da, y))];
  },
  Neg: ({ op, dy }) => [op.neg(dy)],
  Sum: ({ node, dy }) => node.inputs.map(() => dy),
  Mean({ op, node, dy }) {
    const part = op.div(dy, node.inputs.length);
    return node.inputs.map(() => part);
  },
  Max: (context) => shareAmongTies(context),
  Min: (context) => shareAmongTies(context),
  // d a^b = b·a^(b-1) da + a^b·ln a db; at a = 0 the second term is 0, as in PyTorch.
  Pow({ op, x: [a, b], y: [y], dy, needs }) {
    const exponent = b.dtype === a.dtype ? b : op.cast(b, a.dtype);
    const da = op.mul(dy, op.mul(exponent, op.pow(a, op.sub(exponent, 1))));
    if (!needs(1)) return [da];
    const positive = op.greater(a, 0);
    const logarithm = op.where(positive, op.log(op.where(positive, a, 1)), 0);
    return [da, op.mul(dy, op.mul(y, logarithm))];
  },
  // The subgradient at 0 is 0, as in PyTorch.
  Abs: ({ op, x: [x], dy }) => [op.mul(dy, op.emit("Sign", [x]))],
  Sqrt: ({ op, y: [y], dy }) => [op.div(op.mul(dy, 0.5), y)],
  Exp: ({ op, y: [y], dy }) => [op.mul(dy, y)],
  Log: ({ op, x: [x], dy }) => [op.div(dy, x)],
  Reciprocal: ({ op, y: [y], dy }) => [op.neg(op.mul(dy, op.mul(y, y)))],
  // d erf(x) = 2/√π · e^(-x²)
  Erf: ({ op, x: [x], dy }) => [op.mul(dy, op.mul(op.exp(op.neg(op.mul(x, x))), 2 / Math.sqrt(Math.PI)))],
  Sin: ({ op, x: [x], dy }) => [op.mul(dy, op.emit("Cos", [x]))],
  Cos: ({ op, x: [x], dy }) => [op.neg(op.mul(dy, op.emit("Sin", [x])))],
  Tan: ({ op, y: [y], dy }) => [op.mul(dy, op.add(op.mul(y, y), 1))],
  Atan: ({ op, x: [x], dy }) => [op.div(dy, op.add(op.mul(x, x), 1))],
  Where: ({ op, x: [condition], dy }) => [undefined, op.where(condition, dy, 0), op.where(condition, 0, dy)],
  Cast: ({ op, x: [x], dy }) => [op.cast(dy, x.dtype)],
  Ceil: nonDifferentiable,
  Floor: nonDifferentiable,
  Round: nonDifferentiable,
  Sign: nonDifferentiable,
  IsInf: nonDifferentiable,
  IsNaN: nonDifferentiable,
  Equal: nonDifferentiable,
  Greater: nonDifferentiable,
  GreaterOrEqual: nonDifferentiable,
  Less: nonDifferentiable,
  LessOrEqual: nonDifferentiable,
  And: nonDifferentiable,
  Or: nonDifferentiable,
  Xor: nonDifferentiable,
  Not: nonDifferentiable,
  Size: nonDifferentiable,
  BitShift: nonDifferentiable,
  BitwiseAnd: nonDifferentiable,
  BitwiseNot: nonDifferentiable,
  BitwiseOr: nonDifferentiable,
  BitwiseXor: nonDifferentiable,
});
