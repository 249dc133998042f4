/** Colours of classes, for masks and overlays that people look at. */

/** 0 to 255. */
export type Colour = readonly [red: number, green: number, blue: number];

/** The golden angle puts every further hue far from the ones before; brightness alternates. */
export function classColours(count: number): Colour[] {
  return Array.from({ length: count }, (_, i) => hsv((i * 137.508 + 205) % 360, 0.62, i % 2 === 0 ? 0.92 : 0.68));
}

/** h in degrees; formula of Smith 1978. */
function hsv(h: number, s: number, v: number): Colour {
  const channel = (n: number): number => {
    const k = (n + h / 60) % 6;
    return Math.round(255 * (v - v * s * Math.max(0, Math.min(k, 4 - k, 1))));
  };
  return [channel(5), channel(3), channel(1)];
}
