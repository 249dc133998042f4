/** The style sheet: one for light and dark, narrow and wide, screen and paper. */

export const style = `
:root { color-scheme: light dark; --page: #fbfbfa; --card: #ffffff; --ink: #1d2126; --muted: #5c6670; --line: #e1e4e8; --faint: #b9c4d4; --one: #2563c9; --two: #b4470a; --three: #0d7d6c; --heat: #3f7fe8; --good: #17724c; --warn: #9a5b00; }
@media (prefers-color-scheme: dark) {
  :root { --page: #14171b; --card: #1c2026; --ink: #e7eaee; --muted: #a2adb9; --line: #323942; --faint: #4d5f7c; --one: #7fb0ff; --two: #ffab6b; --three: #5fd3be; --heat: #3a74dd; --good: #6fd3a5; --warn: #f0b95c; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main, header, footer { max-width: 1120px; margin: 0 auto; padding: 0 20px; }
header { padding-top: 28px; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 36px 0 12px; }
h3 { font-size: 0.95rem; margin: 0 0 8px; }
p { margin: 0 0 12px; max-width: 75ch; }
.muted, caption, figcaption { color: var(--muted); }
.state { display: inline-block; padding: 1px 10px; border-radius: 999px; border: 1px solid currentColor; font-size: 0.85rem; }
.state.done { color: var(--good); } .state.stopped, .state.running { color: var(--warn); }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin: 20px 0 0; }
.cards div { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 10px 14px; }
.cards dt { color: var(--muted); font-size: 0.85rem; } .cards dd { margin: 0; font-size: 1.3rem; font-variant-numeric: tabular-nums; }
.cards small { color: var(--muted); font-size: 0.8rem; display: block; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); gap: 16px; }
figure { margin: 0; min-width: 0; }
.chart { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 12px 12px 4px; }
.chart figcaption { font-weight: 600; color: var(--ink); margin-bottom: 4px; }
.plot { width: 100%; min-height: 268px; } .u-legend { font-size: 0.8rem; text-align: left; } .u-legend th, .u-legend td { border: 0; padding: 1px 2px; font-size: 0.8rem; } .u-legend .u-marker { border-radius: 2px; } .u-select { background: color-mix(in srgb, var(--one) 15%, transparent); }
.scroll { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
.scroll:focus-visible, summary:focus-visible { outline: 2px solid var(--one); outline-offset: 2px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: 0.92rem; }
caption { text-align: left; padding: 10px 14px 4px; font-size: 0.88rem; }
th, td { padding: 6px 14px; text-align: right; border-top: 1px solid var(--line); white-space: nowrap; }
thead th { border-top: 0; color: var(--muted); font-weight: 600; vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; }
tbody th { font-weight: 500; }
.swatch { display: inline-block; width: 0.85em; height: 0.85em; border-radius: 3px; margin-right: 8px; vertical-align: -0.05em; border: 1px solid color-mix(in srgb, var(--ink) 35%, transparent); }
.bar { position: relative; min-width: 150px; } .bar span { position: relative; } .bar::before { content: ""; position: absolute; left: 14px; right: 74px; top: 50%; height: 8px; margin-top: -4px; border-radius: 4px; background: linear-gradient(var(--one), var(--one)) left / calc(var(--v) * 100%) 100% no-repeat, var(--line); }
.matrix { width: auto; } .matrix th, .matrix td { padding: 4px 8px; font-size: 0.85rem; } .matrix td { text-align: center; min-width: 52px; background: color-mix(in srgb, var(--heat) calc(var(--v) * 62%), transparent); border: 1px solid var(--card); }
.matrix thead th + th { max-width: 110px; overflow: hidden; text-overflow: ellipsis; } .matrix td.right { font-weight: 600; }
.dense th, .dense td { padding: 3px 4px; } .dense td { min-width: 38px; } .dense thead th + th { writing-mode: vertical-rl; transform: rotate(180deg); max-width: none; max-height: 160px; text-align: left; vertical-align: middle; padding: 4px 8px; }
.scroll tr > :first-child { position: sticky; left: 0; z-index: 1; background: var(--card); }
.samples { display: grid; gap: 16px; } .sample { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 12px; }
.tiles { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 10px; } .tiles figcaption { font-size: 0.85rem; }
.tiles img { width: 100%; height: auto; display: block; border-radius: 4px; background: var(--line); } .mask img { image-rendering: pixelated; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 16px; list-style: none; padding: 0; margin: 0 0 12px; font-size: 0.9rem; }
.facts { columns: 3 300px; column-gap: 16px; } .facts section { break-inside: avoid; margin-bottom: 16px; background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 12px 14px; min-width: 0; }
.facts dl { display: grid; grid-template-columns: minmax(90px, auto) minmax(0, 1fr); gap: 2px 14px; margin: 0; font-size: 0.9rem; } .facts dt { color: var(--muted); } .facts dd { margin: 0; overflow-wrap: anywhere; }
details { margin: 12px 0; } summary { cursor: pointer; } pre { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 12px 14px; font-size: 0.82rem; }
footer { padding: 32px 20px; color: var(--muted); font-size: 0.88rem; }
@media (max-width: 600px) {
  main, header, footer { padding-left: 12px; padding-right: 12px; } .cards { grid-template-columns: 1fr 1fr; } .cards dd { font-size: 1.1rem; }
  .tiles { grid-template-columns: 1fr 1fr; } .tiles figure:first-child { grid-column: 1 / -1; } th, td { padding: 6px 10px; } .bar { min-width: 130px; } .bar::before { left: 8px; right: 66px; }
}
@media print { body { background: none; } .chart, .sample, section { break-inside: avoid; } }
`;
