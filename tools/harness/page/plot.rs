//! Line plots as inline SVG: no script, no library, nothing to load.

use std::fmt::Write;

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 300.0;
/// Room for labels: left, right, top, bottom.
const MARGIN: [f64; 4] = [62.0, 14.0, 30.0, 44.0];
/// Told apart by people who do not see all colours, too (Okabe and Ito).
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00"];
const TICKS: usize = 5;
/// Of a line of more points than these only the line is drawn.
const POINTS_SHOWN_MAX: usize = 20;

/// How an axis grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Evenly, from zero.
    Linear,
    /// By powers of ten; what is below the first is drawn at it.
    Logarithmic,
}

/// One line.
pub struct Series {
    /// In the legend.
    pub name: String,
    /// In order of x.
    pub points: Vec<(f64, f64)>,
}

/// A plot.
pub struct Plot<'a> {
    /// Above it.
    pub title: &'a str,
    /// With its unit.
    pub x_label: &'a str,
    /// With its unit.
    pub y_label: &'a str,
    /// Of y; x is linear.
    pub y_scale: Scale,
    /// What is drawn.
    pub series: Vec<Series>,
}

/// The least value that a logarithmic axis shows.
const LOGARITHMIC_LEAST: f64 = 0.01;

impl Plot<'_> {
    /// The SVG element; a plot of nothing says so.
    pub fn svg(&self) -> String {
        let title = escape(self.title);
        let left = MARGIN[0];
        let mut out = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">\
             <text x=\"{left}\" y=\"18\" class=\"title\">{title}</text>"
        );
        if self.series.iter().all(|series| series.points.is_empty()) {
            let _ = write!(out, "<text x=\"{left}\" y=\"150\">not measured</text></svg>");
            return out;
        }
        let axes = Axes::of(self);
        axes.draw(&mut out);
        self.draw_labels(&mut out);
        for (place, series) in self.series.iter().enumerate() {
            series.draw(&mut out, place, &axes);
        }
        out.push_str("</svg>");
        out
    }

    fn draw_labels(&self, out: &mut String) {
        let [left, right, top, bottom] = MARGIN;
        let (middle, low) = ((left + WIDTH - right) / 2.0, HEIGHT - 8.0);
        let _ = write!(
            out,
            "<text x=\"{middle:.1}\" y=\"{low}\" class=\"x\">{}</text>\
             <text transform=\"translate(14 {:.1}) rotate(-90)\" class=\"x\">{}</text>",
            escape(self.x_label),
            (top + HEIGHT - bottom) / 2.0,
            escape(self.y_label)
        );
    }
}

/// Where values lie on the plot.
struct Axes {
    x_ticks: Vec<f64>,
    x_max: f64,
    y_scale: Scale,
    y_ticks: Vec<f64>,
    y_low: f64,
    y_max: f64,
}

impl Axes {
    fn of(plot: &Plot<'_>) -> Self {
        let points = || plot.series.iter().flat_map(|series| series.points.iter());
        let (x_ticks, x_max) = linear_ticks(points().map(|point| point.0).fold(0.0, f64::max));
        let y_most = points().map(|point| point.1).fold(0.0, f64::max);
        let y_scale = plot.y_scale;
        let (y_ticks, y_low, y_max) = match y_scale {
            Scale::Linear => {
                let (ticks, max) = linear_ticks(y_most);
                (ticks, 0.0, max)
            }
            Scale::Logarithmic => {
                let ticks = powers(y_most.max(10.0 * LOGARITHMIC_LEAST));
                let max = ticks.last().copied().unwrap_or(1.0);
                (ticks, LOGARITHMIC_LEAST, max)
            }
        };
        Self { x_ticks, x_max, y_scale, y_ticks, y_low, y_max }
    }

    fn x_of(&self, x: f64) -> f64 {
        let [left, right, ..] = MARGIN;
        left + (WIDTH - left - right) * x / self.x_max
    }

    fn y_of(&self, y: f64) -> f64 {
        let [_, _, top, bottom] = MARGIN;
        let (low, max) = (self.y_low, self.y_max);
        let share = match self.y_scale {
            Scale::Linear => y / max,
            Scale::Logarithmic => (y.max(low) / low).log10() / (max / low).log10(),
        };
        HEIGHT - bottom - (HEIGHT - top - bottom) * share.clamp(0.0, 1.0)
    }

    /// Lines and numbers.
    fn draw(&self, out: &mut String) {
        let [left, right, _, bottom] = MARGIN;
        for tick in &self.y_ticks {
            let (y, end) = (self.y_of(*tick), WIDTH - right);
            let _ = write!(
                out,
                "<line x1=\"{left}\" x2=\"{end}\" y1=\"{y:.1}\" y2=\"{y:.1}\" class=\"grid\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" class=\"y\">{}</text>",
                left - 6.0,
                y + 4.0,
                label(*tick)
            );
        }
        for tick in &self.x_ticks {
            let (x, y) = (self.x_of(*tick), HEIGHT - bottom + 16.0);
            let text = label(*tick);
            let _ = write!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"x\">{text}</text>");
        }
    }
}

impl Series {
    /// The line, its points where they are few, and its name in the legend.
    fn draw(&self, out: &mut String, place: usize, axes: &Axes) {
        let [left, _, top, _] = MARGIN;
        let colour = COLOURS[place % COLOURS.len()];
        let points = self.points.iter();
        let points = points.map(|(x, y)| format!("{:.1},{:.1}", axes.x_of(*x), axes.y_of(*y)));
        let points: Vec<String> = points.collect();
        let (x, y) = (left + 10.0, top + 14.0 + 16.0 * place as f64);
        let _ = write!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\
             <text x=\"{x}\" y=\"{y}\" fill=\"{colour}\">{}</text>",
            points.join(" "),
            escape(&self.name)
        );
        for point in points.iter().filter(|_| points.len() <= POINTS_SHOWN_MAX) {
            let (x, y) = point.split_once(',').unwrap_or_default();
            let _ = write!(out, "<circle cx=\"{x}\" cy=\"{y}\" r=\"3\" fill=\"{colour}\"/>");
        }
    }
}

/// Round steps from zero, and where the axis ends.
fn linear_ticks(max: f64) -> (Vec<f64>, f64) {
    let rough = (max / TICKS as f64).max(f64::MIN_POSITIVE);
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
    let step = step.into_iter().find(|step| *step >= rough).unwrap_or(10.0 * power);
    let count = (max / step).ceil().max(1.0) as usize;
    ((0..=count).map(|tick| tick as f64 * step).collect(), count as f64 * step)
}

fn powers(max: f64) -> Vec<f64> {
    let first = LOGARITHMIC_LEAST.log10().round() as i32;
    (first..=max.log10().ceil() as i32).map(|power| 10_f64.powi(power)).collect()
}

fn label(tick: f64) -> String {
    let text = format!("{tick:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Text as HTML and SVG want it.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(y_scale: Scale, points: Vec<(f64, f64)>) -> String {
        let series = vec![Series { name: "a <b>".to_owned(), points }];
        Plot { title: "t", x_label: "x", y_label: "y", y_scale, series }.svg()
    }

    #[test]
    fn every_point_lies_inside_the_plot() {
        for scale in [Scale::Linear, Scale::Logarithmic] {
            let svg = plot(scale, vec![(0.0, 0.0), (3.0, 0.5), (7.0, 5_000.0)]);
            let points = svg.split("points=\"").nth(1).unwrap().split('"').next().unwrap();
            for point in points.split(' ') {
                let (x, y) = point.split_once(',').unwrap();
                assert!((0.0..=WIDTH).contains(&x.parse::<f64>().unwrap()), "{svg}");
                assert!((0.0..=HEIGHT).contains(&y.parse::<f64>().unwrap()), "{svg}");
            }
        }
    }

    #[test]
    fn names_are_escaped_and_nothing_is_said_to_be_nothing() {
        assert!(plot(Scale::Linear, vec![(1.0, 1.0)]).contains("a &lt;b&gt;"));
        assert!(plot(Scale::Linear, vec![]).contains("not measured"));
    }

    #[test]
    fn ticks_are_round_and_reach_the_maximum() {
        assert_eq!(linear_ticks(317.0), (vec![0.0, 100.0, 200.0, 300.0, 400.0], 400.0));
        assert_eq!(powers(50.0), [0.01, 0.1, 1.0, 10.0, 100.0]);
        assert_eq!(label(0.1), "0.1");
        assert_eq!(label(20.0), "20");
    }
}
