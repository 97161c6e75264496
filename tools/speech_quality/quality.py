"""Scores what linecard-quality made of speech, and writes table, JSON and page: see tools/quality."""

import argparse
import datetime
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from multiprocessing import Pool
from pathlib import Path

import numpy as np
import pesq

import page
import peer
import speech

# What the rungs are compared with: rtpengine's and most gateways' complexity 10, without the FEC that
# nobody configures, and with it. Then the mode changed every second in one encoder.
REFERENCES = ["silk,24k,cx10", "silk,24k,cx10,fec10"]
CHANGING = ["celt_48k/silk_48k_fec"]
PROTECTIONS = {"fec": "in-band FEC", "red": "RED and FEC"}
LOSS = ["0", "1", "5", "10", "burst5"]
LOSS_QUICK = ["0", "1", "5", "10"]
QUICK_VOICES = ["english", "german-f", "spanish"]
# How speech is shortened when the delay of paced playout shrinks.
SHORTENED = {"period": "a pitch period each", "cut": "as much, just cut"}
SHORTENED_MS = 200
# For instruction counts: the difference leaves start-up out.
FRAMES = (200, 1200)
DEFAULT_OUT = Path("target/quality")


def main():
    options = arguments()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="linecard-quality-") as directory:
        result = measure(options, Path(directory))
    json_file, page_file = options.out / "quality.json", options.out / "quality.html"
    json_file.write_text(json.dumps(result, indent=1) + "\n")
    page_file.write_text(page.render(result))
    print(table(result))
    print(f"\n{json_file}\n{page_file}")


def arguments():
    parser = argparse.ArgumentParser(
        prog="tools/quality", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="PESQ of every rung of the encoder ladder against loss, and what a frame costs.",
        epilog="A recipe is the name of a rung, or as silk,36k,cx0,fec10 or celt,40k,cx0,red; two with / "
        "between them take turns.\nA loss is a percentage, or burst5 for 5 % in bursts of three packets.",
    )
    parser.add_argument("--program", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="three voices, one run of each loss, no peer")
    parser.add_argument("--try", dest="recipes", action="append", default=[], metavar="RECIPE",
                        help="score this one beside the ladder; may be repeated")
    parser.add_argument("--pauses", type=level, metavar="DB",
                        help="let every voice speak twice with 1.5 s between, in white noise of -DB dBov: "
                        "to see what a recipe with `,gate` costs, which sends silence as the product does")
    parser.add_argument("--loss", type=losses, metavar="LIST", help=f"default {','.join(LOSS)}")
    parser.add_argument("--repeats", type=positive, metavar="N", help="runs of each loss and voice; default 4")
    parser.add_argument("--instructions", action="store_true",
                        help="count instructions under valgrind as well (minutes)")
    parser.add_argument("--no-peer", action="store_true", help="leave rtpengine out although it is installed")
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, metavar="DIR",
                        help=f"where quality.json and quality.html go; default {DEFAULT_OUT}")
    options = parser.parse_args()
    options.loss = options.loss or (LOSS_QUICK if options.quick else LOSS)
    options.repeats = options.repeats or (1 if options.quick else 4)
    options.no_peer |= options.quick
    return options


def losses(text):
    wanted = text.split(",")
    for one in wanted:
        number = one.removeprefix("burst")
        if not number.isdigit() or int(number) > 50:
            raise argparse.ArgumentTypeError(
                f"{one!r}: write percentages up to 50 with commas between them, as 0,1,5,burst5")
    return wanted


def level(text):
    if not text.isdigit() or not 40 <= int(text) <= 100:
        raise argparse.ArgumentTypeError(f"{text!r}: write a level below overload from 40 to 100, as 69")
    return -int(text)


def positive(text):
    if not text.isdigit() or not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError(f"{text!r}: write a number from 1 to 100")
    return int(text)


def measure(options, directory):
    voices = speech.make(directory, QUICK_VOICES if options.quick else None)
    if options.pauses is not None:
        voices = {name: speech.with_pauses(path, options.pauses) for name, (path, _) in voices.items()}
    spoken = [path for path, _ in voices.values()]
    from_trunk = [
        speech.write(directory / f"{name}.g711.raw", speech.through_g711(samples))
        for name, (_, samples) in voices.items()
    ]
    rungs = run(options, "ladder")["rungs"]
    recipes = rungs + REFERENCES + CHANGING + options.recipes
    has_peer = not options.no_peer and peer.installed()
    steps = Progress(2 + len(recipes) + len(PROTECTIONS) + len(SHORTENED) + has_peer + options.instructions * len(recipes))

    steps.next("what a frame costs")
    priced = [recipe for recipe in recipes if "/" not in recipe]
    priced.sort(key=lambda recipe: recipe != REFERENCES[0])
    costs = {c["recipe"]: c for c in run(options, "cost", *priced, *files("--segments", from_trunk))["costs"]}
    with Pool(initializer=os.nice, initargs=(10,)) as pool:
        browser = []
        for recipe in recipes:
            steps.next(f"toward the browser: {recipe}")
            made = run(options, "browser", recipe, *conditions(options, from_trunk, directory))
            row = {"recipe": recipe, "is_rung": recipe in rungs, "kbit_s": round(made["kbit_s"], 1)}
            row["fec_share"] = round(made["fec_share"], 3)
            row["pesq"] = scores(pool, options.loss, made["heard"])
            if recipe in costs:
                row["us"] = round(costs[recipe]["us"], 1)
                row["of_complexity_10"] = round(costs[recipe]["us"] / costs[REFERENCES[0]]["us"], 3)
            if options.instructions and recipe in costs:
                steps.next(f"instructions: {recipe}")
                row["instructions"] = instructions(options, recipe, from_trunk)
            browser.append(row)
        trunk = []
        for protection, name in PROTECTIONS.items():
            steps.next(f"toward the trunk: {name}")
            # As many runs as the peer gets, so that both meet the same losses.
            repeats = min(options.repeats, peer.REPEATS_MAX)
            made = run(options, "trunk", protection, *conditions(options, spoken, directory, repeats))
            trunk.append({"recipe": f"linecard, {name}", "pesq": scores(pool, options.loss, made["heard"])})
        if has_peer:
            steps.next("toward the trunk: rtpengine, in real time")
            version, made = peer.run(options, spoken, directory)
            trunk.append({"recipe": version, "pesq": scores(pool, options.loss, made)})
        shortened = []
        for method, name in SHORTENED.items():
            steps.next(f"shortened: {name}")
            made = run(options, "shorten", method, *files("--segments", spoken),
                       "--milliseconds", SHORTENED_MS, "--out", directory)
            shortened.append({"recipe": name, "pesq": scores(pool, ["0"], made["heard"])})
        steps.next("G.711 alone")
        alone = [{"segment": str(a), "file": str(b), "loss": "0"} for a, b in zip(spoken, from_trunk)]
        trunk.append({"recipe": "G.711 alone", "pesq": scores(pool, ["0"], alone)})
    steps.end()
    return {
        "when": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="minutes"),
        "machine": machine(), "voices": list(voices), "repeats": options.repeats, "loss": options.loss,
        "toward_browser": browser, "toward_trunk": trunk, "shortened": shortened,
    }


def run(options, *words):
    """One command of linecard-quality, which answers in JSON."""
    done = subprocess.run([options.program, *map(str, words)], capture_output=True, text=True)
    if done.returncode:
        # clap says several lines about a bad word; the first has what to write instead.
        problem = done.stderr.strip().removeprefix("error: ").splitlines() or ["it ended without a word"]
        sys.exit(f"\ntools/quality: {problem[0]}")
    return json.loads(done.stdout)


def conditions(options, segments, directory, repeats=None):
    out = directory / "heard"
    out.mkdir(exist_ok=True)
    return [*files("--segments", segments), *files("--loss", options.loss),
            "--repeats", repeats or options.repeats, "--out", out]


def files(option, values):
    return [word for value in values for word in (option, value)]


def scores(pool, conditions, heard):
    """Mean and worst PESQ by loss. Of several files that were heard in one call the best counts."""
    tasks = [(one["segment"], one.get("files") or [one["file"]]) for one in heard]
    by_loss = {condition: [] for condition in conditions}
    for one, score in zip(heard, pool.map(score_of, tasks)):
        by_loss[one["loss"]].append(score)
    return {
        loss: {"mean": round(float(np.mean(values)), 3), "worst": round(min(values), 3), "runs": len(values)}
        for loss, values in by_loss.items() if values
    }


def score_of(task):
    segment, files_heard = task
    reference = speech.read(segment)

    def score(file):
        heard = speech.read(file)
        length = min(len(reference), len(heard))
        return float(pesq.pesq(speech.RATE_HZ, reference[:length], heard[:length], "nb"))

    return max(map(score, files_heard))


def instructions(options, recipe, segments):
    """Instructions of a frame, in thousands, as valgrind counts them."""
    counts = []
    for frames in FRAMES:
        words = [options.program, "frames", recipe, "--frames", frames, *files("--segments", segments)]
        done = subprocess.run(
            ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *map(str, words)],
            capture_output=True, text=True, check=True,
        )
        counts.append(int(re.search(r"Collected : (\d+)", done.stderr)[1]))
    return round((counts[1] - counts[0]) / (FRAMES[1] - FRAMES[0]) / 1000, 1)


def machine():
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return f"{model}, {os.cpu_count()} hardware threads, Linux {platform.release()}"


def table(result):
    def row(name, cells):
        return f"{name:28s}" + "".join(f"{cell:>13s}" for cell in cells)

    def scored(pesq_by_loss):
        cells = (pesq_by_loss.get(loss) for loss in result["loss"])
        return [f"{c['mean']:.2f} ({c['worst']:.2f})" if c else "-" for c in cells]

    heads = [f"{page.loss_name(loss)}" for loss in result["loss"]]
    voices, repeats = len(result["voices"]), result["repeats"]
    lines = [
        f"PESQ-NB, mean (worst), {voices} voices, {repeats} runs of each loss (toward the trunk at most "
        f"{peer.REPEATS_MAX})",
        result["machine"],
        "", row("trunk to browser", heads + ["kb/s", "µs", "of cx 10", "k instr"]),
    ]
    for one in result["toward_browser"]:
        cost = [f"{one[key]}" if key in one else "-" for key in ("us", "of_complexity_10", "instructions")]
        lines.append(row(one["recipe"], scored(one["pesq"]) + [f"{one['kbit_s']}"] + cost))
    lines += ["", row("browser to trunk", heads)]
    lines += [row(one["recipe"], scored(one["pesq"])) for one in result["toward_trunk"]]
    lines += ["", row(f"{SHORTENED_MS} ms of speech left out", ["PESQ"])]
    lines += [f"{one['recipe']:28s}{one['pesq']['0']['mean']:8.2f} ({one['pesq']['0']['worst']:.2f})"
              for one in result["shortened"]]
    return "\n".join(lines)


class Progress:
    """A line that says what is being done."""

    def __init__(self, steps):
        self.steps, self.done = steps, 0

    def next(self, what):
        self.done += 1
        self.show(f"[{min(self.done, self.steps)}/{self.steps}] {what}")

    def end(self):
        self.show("")

    def show(self, text):
        if sys.stderr.isatty():
            print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
        elif text:
            print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
