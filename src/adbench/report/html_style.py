"""How report.html looks: light and dark, from 390 pixels up, without anything fetched."""

STYLE = """
:root { color-scheme: light dark; --ink: #1d2330; --paper: #ffffff; --faint: #667085; --line: #d9dee7;
        --bar: #cfe0ff; --strong: #2457c5; --mark: #a3410a; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e8f0; --paper: #14171d; --faint: #98a2b3; --line: #2d3440; --bar: #24406f; --strong: #8ab4ff;
          --mark: #ffb27a; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
       max-width: 82rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; } h3 { font-size: 1rem; margin: 1rem 0 0; }
a { color: var(--strong); } nav { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: right; }
th { color: var(--faint); font-weight: 500; vertical-align: bottom; } .text { text-align: left; }
th:first-child, td:first-child { position: sticky; left: 0; background: var(--paper); min-width: 6.5rem;
                                 max-width: 16rem; overflow-wrap: anywhere; }
td.metric { background: linear-gradient(to right, var(--bar) var(--share), transparent var(--share));
            min-width: 3.6rem; }
td.best { font-weight: 700; color: var(--strong); }
tr.mean td { font-weight: 700; border-top: 2px solid var(--line); }
.note { color: var(--mark); } .faint { color: var(--faint); }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(17rem, 100%), 1fr)); gap: .5rem; }
figure { margin: 1rem 0; overflow-x: auto; }
figure img { height: auto; }
figure label { cursor: zoom-in; }
figure input { position: absolute; opacity: 0; } figure input:focus-visible + img { outline: 2px solid var(--strong); }
figure input:checked + img { position: fixed; inset: 0; z-index: 1; width: 100% !important; height: 100%;
                             object-fit: contain; background: var(--paper); cursor: zoom-out; }
svg { max-width: 720px; width: 100%; } svg text { fill: var(--faint); font-size: 12px; }
svg .grid { stroke: var(--line); } svg polyline { fill: none; stroke: var(--strong); }
svg .thin { opacity: .45; } svg .thick { stroke-width: 2; } svg circle { fill: var(--strong); }
svg .chance { stroke: var(--line); stroke-dasharray: 4; } svg .anomalous { stroke: var(--mark); stroke-width: 2; }
svg .normal { stroke-width: 2; } svg .threshold { stroke: var(--ink); stroke-dasharray: 4; }
.normal-name { color: var(--strong); } .anomalous-name { color: var(--mark); }
pre { white-space: pre-wrap; font-size: 12.5px; } summary { cursor: pointer; }
"""
