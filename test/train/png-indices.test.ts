/** Masks from other encoders: every filter, depth and order of rows; a file with any bit wrong is refused. */

import { crc32, deflateSync } from "node:zlib";
import sharp from "sharp";
import { describe, expect, test } from "vitest";
import { randomStream } from "../../src/support/random.ts";
import { decodeRawMask } from "../../src/train/images.ts";
import { pythonJson, pythonTest } from "../python.ts";

interface PngCase {
  readonly name: string;
  readonly png: string;
  readonly width: number;
  readonly height: number;
  readonly filters: readonly number[];
  readonly labels: string;
}

async function refusal(png: Uint8Array): Promise<unknown> {
  try {
    await decodeRawMask(png, "m.png");
    return "read";
  } catch (error) {
    return error;
  }
}

describe("numbers as Pillow reads them", () => {
  pythonTest("in every depth, filter and order of rows, and in Pillow's own files", async () => {
    const cases = pythonJson<readonly PngCase[]>("png_files.py", {});
    for (const { name, png, width, height, labels } of cases) {
      const mask = await decodeRawMask(Buffer.from(png, "base64"), "m.png");
      expect(mask, name).toMatchObject({ kind: "numbers", width, height });
      if (mask.kind === "numbers") expect(Buffer.from(mask.labels).toString("base64"), name).toBe(labels);
    }
    const own = cases.filter(({ name }) => name.startsWith("Pillow"));
    expect(new Set(own.flatMap(({ filters }) => filters))).toEqual(new Set([0, 1, 2, 3, 4]));
  });
});

/** Soft and hard edges and noise, so that libpng takes all its filters. */
function scene(width: number, height: number): Uint8Array {
  const random = randomStream(3);
  return Uint8Array.from({ length: width * height }, (_, i) => {
    const [x, y] = [i % width, Math.floor(i / width)];
    return y < height / 2 ? (x * 3 + y * 2) % 256 : y % 3 === 0 ? random.bits() & 255 : (x * y) >> 4;
  });
}

describe("numbers as libpng writes them", () => {
  test.each([
    [false, false],
    [false, true],
    [true, false],
    [true, true],
  ])("grey, interlaced %s, filtered %s", async (progressive, adaptiveFiltering) => {
    const [width, height] = [75, 43];
    const grey = scene(width, height);
    const png = await sharp(grey, { raw: { width, height, channels: 1 } })
      .toColourspace("b-w")
      .png({ progressive, adaptiveFiltering })
      .toBuffer();
    expect([png[25], png[28]]).toEqual([0, progressive ? 1 : 0]);
    expect(await decodeRawMask(png, "m.png")).toMatchObject({ kind: "numbers", width, height, labels: grey });
  });

  test.each([
    [1, false],
    [2, false],
    [4, false],
    [8, false],
    [1, true],
    [2, true],
    [4, true],
    [8, true],
  ])("palette of %i bits, interlaced %s", async (depth, progressive) => {
    const [width, height] = [75, 43];
    const rgb = Uint8Array.from(scene(width, height * 3));
    const png = await sharp(rgb, { raw: { width, height, channels: 3 } })
      .png({ palette: true, colours: 2 ** depth, progressive })
      .toBuffer();
    expect([png[24], png[25], png[28]]).toEqual([depth, 3, progressive ? 1 : 0]);
    const mask = await decodeRawMask(png, "m.png");
    const shown = await sharp(png).removeAlpha().raw().toBuffer();
    // libpng says in colours what the indices mean.
    const colours = mask.kind === "numbers" ? [...mask.labels].flatMap((label) => [...(mask.palette?.[label] ?? [])]) : [];
    expect(Buffer.from(colours).equals(shown)).toBe(true);
  });
});

function chunk(name: string, content: Uint8Array): Buffer {
  const whole = Buffer.concat([Buffer.alloc(4), Buffer.from(name, "latin1"), content, Buffer.alloc(4)]);
  whole.writeUInt32BE(content.length, 0);
  whole.writeUInt32BE(crc32(whole.subarray(4, -4)), whole.length - 4);
  return whole;
}

interface Made {
  readonly size?: readonly [width: number, height: number];
  /** Depth, colour type, compression, filter method, interlacing. */
  readonly form?: readonly number[];
  readonly raw?: Uint8Array;
  readonly data?: Uint8Array;
  readonly before?: readonly Buffer[];
}

/** 4 × 2 grey pixels of 8 bits, unless said otherwise; every checksum is right. */
function made({ size: [width, height] = [4, 2], form = [8, 0, 0, 0, 0], raw = new Uint8Array(10), data = deflateSync(raw), before = [] }: Made): Uint8Array {
  const header = Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, ...form]);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  const chunks = [chunk("IHDR", header), ...before, chunk("IDAT", data), chunk("IEND", new Uint8Array(0))];
  return Buffer.concat([Buffer.from("\x89PNG\r\n\x1a\n", "latin1"), ...chunks]);
}

describe("damaged files", () => {
  const sound = made({ raw: Uint8Array.of(4, 9, 1, 7, 200, 3, 5, 5, 0, 13) });
  const interlaced = made({ size: [3, 2], form: [4, 0, 0, 0, 1], raw: Uint8Array.of(1, 0x10, 2, 0x20, 4, 0x30, 3, 0x12, 0x30) });

  test.each([
    ["row by row", sound],
    ["interlaced", interlaced],
  ])("%s: sound, but not with any bit changed or any end missing", async (_, png) => {
    expect(await refusal(png)).toBe("read");
    for (let bit = 0; bit < png.length * 8; bit++) {
      const changed = png.map((byte, i) => (i === bit >> 3 ? byte ^ (1 << (bit & 7)) : byte));
      expect(await refusal(changed), `bit ${bit}`).toMatchObject({ code: "E412", where: "m.png" });
    }
    for (let length = 0; length < png.length; length++) {
      expect(await refusal(png.slice(0, length)), `${length} bytes`).toMatchObject({ code: "E412", where: "m.png" });
    }
  });

  const zlib = deflateSync(new Uint8Array(10));
  test.each<[string, Made, string]>([
    ["an unknown filter", { raw: Uint8Array.of(0, 1, 2, 3, 4, 5, 1, 2, 3, 4) }, "a row has the filter 5"],
    ["a row too few", { raw: new Uint8Array(5) }, "5 bytes of pixels instead of 10"],
    ["a row too many", { raw: new Uint8Array(15) }, "more pixels than 4 × 2"],
    ["a hundred megabytes from a small file", { raw: new Uint8Array(100 * 2 ** 20) }, "more pixels than 4 × 2"],
    ["pixels that end too early", { data: zlib.subarray(0, -6) }, "unexpected end of file"],
    ["pixels whose checksum is wrong", { data: zlib.map((byte, i) => (i === zlib.length - 1 ? byte ^ 1 : byte)) }, "incorrect data check"],
    ["no pixels", { data: new Uint8Array(0) }, "unexpected end of file"],
    ["a palette picture without palette", { form: [8, 3, 0, 0, 0] }, "it has no palette"],
    ["a palette that ends within a colour", { form: [8, 3, 0, 0, 0], before: [chunk("PLTE", new Uint8Array(7))] }, "a palette of 7 bytes"],
    ["a palette of 300 colours", { form: [8, 3, 0, 0, 0], before: [chunk("PLTE", new Uint8Array(900))] }, "a palette of 900 bytes"],
    ["an unknown compression", { form: [8, 0, 1, 0, 0] }, "compression 1"],
    ["an unknown interlacing", { form: [8, 0, 0, 0, 2] }, "interlacing 2"],
    ["3 bits", { form: [3, 0, 0, 0, 0] }, "3 bits"],
    ["a large size and few pixels", { size: [0x7fff, 4], raw: new Uint8Array(5) }, "5 bytes of pixels instead of 131072"],
  ])("%s", async (_, parts, message) => {
    const error = await refusal(made(parts));
    expect(error).toMatchObject({ code: "E412", where: "m.png", exitCode: 1 });
    expect((error as Error).message).toContain(message);
  });
});
