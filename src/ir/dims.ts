/**
 * Dimensions: a number, or the canonical text of a polynomial over named sizes ("H", "2*W + 1",
 * "floor((H + 1)/2)"). Equal text means equal size, so that shapes of dynamic models can be compared
 * without guessing. A size nobody knows is a fresh name of its own.
 */

export type Dim = number | string;
export type Shape = readonly Dim[];

/** Sum of coefficient × monomial; the key of a monomial is its sorted atoms joined by `*`, "" for the constant. */
type Polynomial = ReadonlyMap<string, { readonly atoms: readonly string[]; readonly coefficient: number }>;

/** Polynomials by their canonical text; a text not in here is an atom. Pure memory: results never depend on it. */
const parsed = new Map<string, Polynomial>();

function polynomialOf(dim: Dim): Polynomial {
  if (typeof dim === "number") {
    return dim === 0 ? new Map() : new Map([["", { atoms: [], coefficient: dim }]]);
  }
  return parsed.get(dim) ?? new Map([[dim, { atoms: [dim], coefficient: 1 }]]);
}

function build(terms: Iterable<{ atoms: readonly string[]; coefficient: number }>): Polynomial {
  const result = new Map<string, { atoms: readonly string[]; coefficient: number }>();
  for (const { atoms, coefficient } of terms) {
    const key = atoms.join("*");
    const sum = (result.get(key)?.coefficient ?? 0) + coefficient;
    if (sum === 0) result.delete(key);
    else result.set(key, { atoms, coefficient: sum });
  }
  return result;
}

function dimOf(polynomial: Polynomial): Dim {
  if (polynomial.size === 0) return 0;
  const constant = polynomial.get("")?.coefficient ?? 0;
  if (polynomial.size === 1 && polynomial.has("")) return constant;
  const terms = [...polynomial].filter(([key]) => key !== "").sort(([a], [b]) => (a < b ? -1 : 1));
  let text = "";
  for (const [key, { coefficient }] of terms) {
    const sign = coefficient < 0 ? (text === "" ? "-" : " - ") : text === "" ? "" : " + ";
    const size = Math.abs(coefficient);
    text += `${sign}${size === 1 ? "" : `${size}*`}${key}`;
  }
  if (constant !== 0) text += constant < 0 ? ` - ${-constant}` : ` + ${constant}`;
  const only = terms.length === 1 && constant === 0 ? terms[0]?.[1] : undefined;
  if (!(only?.coefficient === 1 && only.atoms.length === 1)) parsed.set(text, polynomial);
  return text;
}

export function addDims(a: Dim, b: Dim): Dim {
  if (typeof a === "number" && typeof b === "number") return a + b;
  return dimOf(build([...polynomialOf(a).values(), ...polynomialOf(b).values()]));
}

export function subDims(a: Dim, b: Dim): Dim {
  return addDims(a, mulDims(b, -1));
}

export function mulDims(a: Dim, b: Dim): Dim {
  if (typeof a === "number" && typeof b === "number") return a * b;
  const terms: { atoms: readonly string[]; coefficient: number }[] = [];
  for (const x of polynomialOf(a).values()) {
    for (const y of polynomialOf(b).values()) {
      terms.push({ atoms: [...x.atoms, ...y.atoms].sort(), coefficient: x.coefficient * y.coefficient });
    }
  }
  return dimOf(build(terms));
}

export function productOfDims(dims: Shape): Dim {
  return dims.reduce<Dim>(mulDims, 1);
}

/** `a / b` where the division leaves no remainder whatever the sizes are; `undefined` where that is not certain. */
export function divideExactly(a: Dim, b: Dim): Dim | undefined {
  if (typeof a === "number" && typeof b === "number") return b !== 0 && a % b === 0 ? a / b : undefined;
  if (a === b) return 1;
  const divisor = [...polynomialOf(b).values()];
  const [only] = divisor;
  if (divisor.length !== 1 || only === undefined) return undefined;
  const terms: { atoms: readonly string[]; coefficient: number }[] = [];
  for (const { atoms, coefficient } of polynomialOf(a).values()) {
    const rest = [...atoms];
    for (const atom of only.atoms) {
      const at = rest.indexOf(atom);
      if (at < 0) return undefined;
      rest.splice(at, 1);
    }
    if (coefficient % only.coefficient !== 0) return undefined;
    terms.push({ atoms: rest, coefficient: coefficient / only.coefficient });
  }
  return dimOf(build(terms));
}

/** `⌊a / b⌋`, with everything divisible taken out of the floor: ⌊(2H + 3)/2⌋ = H + 1. */
export function floorDivDims(a: Dim, b: Dim): Dim {
  if (typeof a === "number" && typeof b === "number") return Math.floor(a / b);
  const exact = divideExactly(a, b);
  if (exact !== undefined) return exact;
  if (typeof b === "string") return `floor((${a})/(${b}))`;
  const whole: { atoms: readonly string[]; coefficient: number }[] = [];
  const rest: { atoms: readonly string[]; coefficient: number }[] = [];
  for (const { atoms, coefficient } of polynomialOf(a).values()) {
    const quotient = Math.floor(coefficient / b);
    if (quotient !== 0) whole.push({ atoms, coefficient: quotient });
    const remainder = coefficient - quotient * b;
    if (remainder !== 0) rest.push({ atoms, coefficient: remainder });
  }
  const inner = dimOf(build(rest));
  const floor = typeof inner === "number" ? Math.floor(inner / b) : `floor((${inner})/${b})`;
  return addDims(dimOf(build(whole)), floor);
}

export function ceilDivDims(a: Dim, b: Dim): Dim {
  return floorDivDims(addDims(a, subDims(b, 1)), b);
}

/** `⌊a · factor⌋` for a positive factor that need not be whole. */
export function scaleDim(a: Dim, factor: number): Dim {
  if (typeof a === "number") return Math.floor(a * factor);
  if (Number.isInteger(factor)) return mulDims(a, factor);
  const inverse = 1 / factor;
  return Number.isInteger(inverse) ? floorDivDims(a, inverse) : `floor((${a})*${factor})`;
}

export function isStatic(shape: Shape | undefined): shape is readonly number[] {
  if (shape === undefined) return false;
  for (const dim of shape) if (typeof dim !== "number") return false;
  return true;
}

export function sameShape(a: Shape | undefined, b: Shape | undefined): boolean {
  if (a === undefined || b === undefined || a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Number of elements of a static shape. */
export function elementCount(dims: readonly number[]): number {
  let product = 1;
  for (const dim of dims) product *= dim;
  return product;
}

export function shapeText(shape: Shape | undefined): string {
  return shape === undefined ? "[?]" : `[${shape.join(",")}]`;
}
