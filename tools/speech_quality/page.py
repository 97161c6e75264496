"""The page: both tables with a plot of PESQ against loss over each. No script, nothing to load."""

from html import escape

COLOURS = ["#0b5fa5", "#c0392b", "#1e8449", "#b9770e", "#6c3483", "#117a8b", "#7b4b2a", "#555555", "#d35400"]
WIDTH, HEIGHT, LEFT, BOTTOM = 640, 320, 46, 34
SCORE_LEAST, SCORE_MOST = 2.0, 4.6


def loss_name(loss):
    return f"{loss.removeprefix('burst')} % bursts" if loss.startswith("burst") else f"{loss} %"


def render(result):
    voices = ", ".join(result["voices"])
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>linecard: speech quality</title>
<style>
body {{ font: 15px/1.45 system-ui, sans-serif; max-width: 70em; margin: 2em auto; padding: 0 1em; color: #222 }}
table {{ border-collapse: collapse; margin: 1em 0 2.5em }}
th, td {{ padding: .25em .8em; text-align: right; border-bottom: 1px solid #ddd }}
th:first-child, td:first-child {{ text-align: left }}
tr.rung td:first-child {{ font-weight: 600 }}
small {{ color: #666 }}
svg {{ max-width: 100%; height: auto }}
svg text {{ font: 12px system-ui, sans-serif; fill: #444 }}
</style></head><body>
<h1>Speech quality</h1>
<p>PESQ (ITU-T P.862, narrowband), mean and worst of {len(result['voices'])} voices by espeak-ng ({escape(voices)})
and {result['repeats']} runs of each loss. {escape(result['machine'])}; {escape(result['when'])}.</p>
<h2>Trunk to browser</h2>
<p>Each rung of the ladder (bold) and what it is compared with. Reference: the G.711 that went in. The
receiver is libopus with one packet of look-ahead: it takes what the next packet repeats of a lost one (RED,
in-band FEC), else it conceals. µs: median of one 20 ms frame over 64 encoder states in turns.</p>
{plot(result['toward_browser'], result['loss'])}
{table(result['toward_browser'], result['loss'], [('kbit_s', 'kb/s'), ('us', 'µs'),
       ('of_complexity_10', 'of cx 10'), ('instructions', 'k instr.')])}
<h2>Browser to trunk</h2>
<p>Narrowband Opus at 32 kb/s under SRTP with packets lost on the way; reference: what was spoken. linecard's
packet line runs under a virtual clock, the peer in real time.</p>
{plot(result['toward_trunk'], result['loss'])}
{table(result['toward_trunk'], result['loss'], [])}
</body></html>
"""


def table(rows, losses, extras):
    extras = [(key, name) for key, name in extras if any(key in row for row in rows)]
    head = "".join(f"<th>{escape(name)}</th>" for name in ["", *map(loss_name, losses), *(n for _, n in extras)])
    body = ""
    for row in rows:
        cells = "".join(cell(row["pesq"].get(loss)) for loss in losses)
        cells += "".join(f"<td>{row.get(key, '–')}</td>" for key, _ in extras)
        kind = ' class="rung"' if row.get("is_rung") else ""
        body += f"<tr{kind}><td>{escape(row['recipe'])}</td>{cells}</tr>\n"
    return f"<table><tr>{head}</tr>\n{body}</table>"


def cell(score):
    return f"<td>{score['mean']:.2f} <small>{score['worst']:.2f}</small></td>" if score else "<td>–</td>"


def plot(rows, losses):
    """Random loss on a linear axis; bursts are in the table only."""
    percents = sorted({int(loss) for loss in losses if loss.isdigit()})
    if len(percents) < 2:
        return ""
    most = percents[-1]

    def x(percent):
        return LEFT + percent / most * (WIDTH - LEFT - 10)

    def y(score):
        share = (max(score, SCORE_LEAST) - SCORE_LEAST) / (SCORE_MOST - SCORE_LEAST)
        return HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - 10)

    parts = []
    for tenths in range(20, 47, 5):
        at = y(tenths / 10)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - 10}" y1="{at:.1f}" y2="{at:.1f}" stroke="#e4e4e4"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{tenths / 10:.1f}</text>')
    for percent in percents:
        parts.append(f'<text x="{x(percent):.1f}" y="{HEIGHT - 14}" text-anchor="middle">{percent} %</text>')
    legend = []
    for number, row in enumerate(rows):
        colour = COLOURS[number % len(COLOURS)]
        points = [(x(p), y(row["pesq"][str(p)]["mean"])) for p in percents if str(p) in row["pesq"]]
        dashes = "" if row.get("is_rung", True) else ' stroke-dasharray="5 4"'
        line = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>')
        parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colour}"/>' for a, b in points]
        at = 16 + 18 * number
        legend.append(f'<line x1="{WIDTH + 6}" x2="{WIDTH + 30}" y1="{at}" y2="{at}" stroke="{colour}" '
                      f'stroke-width="2"{dashes}/><text x="{WIDTH + 36}" y="{at + 4}">{escape(row["recipe"])}</text>')
    return (f'<svg viewBox="0 0 {WIDTH + 230} {HEIGHT}" width="{WIDTH + 230}" role="img" '
            f'aria-label="PESQ against loss">{"".join(parts)}{"".join(legend)}</svg>')
