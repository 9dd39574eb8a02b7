"""The page a report is printed on: its stylesheet and frame.  No content here, no script at all.

One file with nothing fetched: it opens from a disk, an e-mail or an archive, in light and dark.
"""

from __future__ import annotations

from html import escape

STYLE = """
:root { color-scheme: light dark;
  --paper: #fcfbf8; --ink: #1d1c1a; --soft: #6b6862; --faint: #98948c; --hair: #e6e2d9; --panel: #f4f1ea;
  --main: #0f6b5c; --second: #b4552d; --good: #0f6b5c; --bad: #a8322f; --dot: rgba(15,107,92,.26); }
@media (prefers-color-scheme: dark) { :root {
  --paper: #15171a; --ink: #e9e6df; --soft: #a29d94; --faint: #77736b; --hair: #2b2e33; --panel: #1d2024;
  --main: #5cc7b0; --second: #e39a72; --good: #5cc7b0; --bad: #ef8a80; --dot: rgba(92,199,176,.3); } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 "Source Serif 4", "Iowan Old Style", Charter, "Palatino Linotype", Georgia, "DejaVu Serif", serif;
  -webkit-font-smoothing: antialiased; }
main { max-width: 928px; margin: 0 auto; padding: 56px 24px 72px; }
.sans, .kicker, .facts, svg text, table, th, h2, .cap, code, pre, footer, summary {
  font-family: Inter, "Segoe UI", system-ui, -apple-system, "Helvetica Neue", Arial, "DejaVu Sans", sans-serif; }
.kicker { font-size: 13px; color: var(--soft); letter-spacing: .02em; margin: 0 0 6px; }
.kicker b { font-weight: 600; color: var(--ink); }
h1 { font-size: 34px; line-height: 1.2; font-weight: 600; letter-spacing: -.012em; margin: 0 0 10px;
  overflow-wrap: anywhere; }
.lede { color: var(--soft); margin: 0; text-wrap: pretty; }
.hero { display: flex; align-items: baseline; gap: 20px; flex-wrap: wrap; margin: 36px 0 4px;
  font-variant-numeric: lining-nums tabular-nums; line-height: 1; }
.hero .was { font-size: 44px; color: var(--faint); }
.hero .arrow { font-size: 36px; color: var(--faint); }
.hero .now { font-size: 84px; font-weight: 600; color: var(--main); letter-spacing: -.025em; }
.hero .gain { font-size: 22px; color: var(--soft); }
.cap { font-size: 13.5px; color: var(--soft); margin: 6px 0 0; text-wrap: pretty; }
.facts { display: grid; grid-template-columns: repeat(4, 1fr); gap: 0 28px;
  margin: 40px 0 0; border-top: 1px solid var(--hair); }
.facts div { padding: 14px 0; border-bottom: 1px solid var(--hair); }
.facts dt { font-size: 12.5px; color: var(--soft); }
.facts dd { margin: 2px 0 0; font-size: 20px; font-weight: 600; letter-spacing: -.01em;
  font-variant-numeric: tabular-nums; }
.facts small { display: block; font-size: 12.5px; font-weight: 400; color: var(--soft); letter-spacing: 0; }
h2 { font-size: 17px; font-weight: 650; letter-spacing: -.005em; margin: 56px 0 4px; }
h2 + .cap { margin-bottom: 14px; }
figure { margin: 0; } .pair { display: grid; grid-template-columns: 1fr 1fr; gap: 32px; }
@media (max-width: 760px) { .pair { grid-template-columns: 1fr; } }
svg { display: block; width: 100%; height: auto; overflow: visible; }
svg path { fill: none; } svg text { font-size: 12px; fill: var(--soft); font-variant-numeric: tabular-nums; }
.hair { stroke: var(--hair); } .base { stroke: var(--faint); }
.tick.faint { fill: var(--faint); } .end { text-anchor: end; } .middle { text-anchor: middle; }
.dot { stroke: var(--dot); stroke-width: 3.4; stroke-linecap: round; }
.curve { stroke: var(--main); stroke-width: 2.2; stroke-linejoin: round; stroke-linecap: round; }
.curve2 { stroke: var(--second); stroke-width: 1.8; stroke-linejoin: round; }
.knots { stroke: var(--main); stroke-width: 6; stroke-linecap: round; }
.knots2 { stroke: var(--second); stroke-width: 5.4; stroke-linecap: round; }
.level { stroke: var(--soft); stroke-width: 1.2; stroke-dasharray: 5 4; }
.best { fill: var(--paper); stroke: var(--main); stroke-width: 2.6; }
.said { paint-order: stroke; stroke: var(--paper); stroke-width: 4px; stroke-linejoin: round; }
svg .said.strong { fill: var(--ink); font-weight: 600; font-size: 13px; }
.key { font-size: 13px; color: var(--soft); margin: 2px 0 6px; }
.key i { display: inline-block; width: 18px; height: 0; border-top: 2.4px solid var(--main); margin: 0 6px 3px 0; }
.key i.two { border-color: var(--second); margin-left: 18px; }
.key i.dots { border-top: 4px dotted var(--dot); margin-left: 18px; }
.key i:first-child { margin-left: 0; }
table { border-collapse: collapse; width: 100%; font-size: 14px; line-height: 1.45; }
th { text-align: left; font-weight: 500; color: var(--soft); font-size: 12.5px; padding: 0 14px 8px 0; }
td { border-top: 1px solid var(--hair); padding: 9px 14px 9px 0; vertical-align: top; overflow-wrap: anywhere; }
td:last-child, th:last-child { padding-right: 0; }
td.word { white-space: pre-wrap; min-width: 112px; } td small { color: var(--faint); white-space: nowrap; }
.good { color: var(--good); font-weight: 600; } .bad { color: var(--bad); font-weight: 600; }
.share { display: flex; height: 12px; gap: 2px; margin: 14px 0 8px; }
.share span { background: var(--hair); min-width: 2px; border-radius: 2px; }
.share .up { background: var(--good); } .share .down { background: var(--bad); }
.share .kept { background: color-mix(in srgb, var(--good) 38%, var(--paper)); }
.share .lost { background: color-mix(in srgb, var(--bad) 34%, var(--paper)); }
.legend { font-size: 13px; color: var(--soft); margin: 0 0 20px; }
.legend span { white-space: nowrap; margin-right: 20px; }
.legend i { display: inline-block; width: 10px; height: 10px; border-radius: 2px; margin-right: 6px; }
pre { background: var(--panel); border-radius: 6px; padding: 16px 18px; margin: 12px 0 0; overflow-x: auto; }
pre, code { font-family: "JetBrains Mono", ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: 13px; line-height: 1.75; font-variant-ligatures: none; }
pre .c { color: var(--faint); }
.config { columns: 2; column-gap: 44px; } @media (max-width: 760px) { .config { columns: 1; } }
.config table { break-inside: avoid; margin-bottom: 22px; font-size: 13px; }
.config caption { text-align: left; font-size: 12.5px; color: var(--soft); padding-bottom: 5px; }
.config td { padding: 4px 12px 4px 0; } .config td:first-child { color: var(--soft); width: 40%; }
.config td b { font-weight: 600; }
details summary { cursor: pointer; font-size: 13.5px; color: var(--soft); margin-top: 14px; }
ul.notes { padding-left: 18px; margin: 10px 0 0; font-size: 15px; }
footer { margin-top: 64px; padding-top: 16px; border-top: 1px solid var(--hair); font-size: 12.5px;
  color: var(--soft); overflow-wrap: anywhere; }
footer code { font-size: 12px; }
@media (max-width: 680px) { .facts { grid-template-columns: 1fr 1fr; } }
@media (max-width: 560px) { main { padding-top: 32px; } h1 { font-size: 26px; }
  .hero .now { font-size: 60px; } .hero .was { font-size: 32px; } td.word { min-width: 0; } }
@media print { main { padding: 0; max-width: none; } details > * { display: revert; } }
"""


def page(title: str, body: str) -> str:
    """A whole HTML document around `body`, which is HTML already."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body><main>\n{body}\n</main></body>\n</html>\n"
    )
