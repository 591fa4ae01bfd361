//! The fastest runs as a bar chart, in SVG.
//!
//! Drawn here: chart libraries fix the colours, and a picture in a README is seen on light and on dark pages.

use svg::Document;
use svg::node::element::{Line, Rectangle, Style, Text, Title};

use crate::report::{Outcome, Report, Times};

const WIDTH: f64 = 860.0;
/// Where the bars begin and where the axis ends; right of it is room for the figures.
const BEGIN: f64 = 170.0;
const END: f64 = 740.0;
const HEADER: f64 = 84.0;
const BAR: f64 = 15.0;
const GAP: f64 = 3.0;
const GROUP_GAP: f64 = 18.0;

const STYLE: &str = "
svg { font: 13px system-ui, sans-serif; }
text { fill: #1f2328; dominant-baseline: middle; }
.page { fill: #ffffff; }
.small { font-size: 11px; fill: #59636e; }
.heading { font-size: 15px; font-weight: 600; }
.grid { stroke: #d1d9e0; }
.side0 { fill: #0969da; }
.side1 { fill: #c2541b; }
.side2 { fill: #6e7781; }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc; }
.page { fill: #0d1117; }
.small { fill: #9198a1; }
.grid { stroke: #3d444d; }
.side0 { fill: #4493f8; }
.side1 { fill: #f0883e; }
.side2 { fill: #8b949e; }
}
";

/// Draws the scenarios that compare the sides.
pub fn draw(report: &Report) -> String {
    let names: Vec<&str> = report.machine.sides.iter().map(|side| side.name).collect();
    let timed = |outcome: &&Outcome| outcome.sides.iter().any(|side| side.best.is_some() && names.contains(&side.side));
    let groups: Vec<&Outcome> = report.scenarios.iter().filter(timed).collect();
    let axis = Axis::over(groups.iter().flat_map(|group| &group.sides).filter_map(|side| side.best));
    let bars = |outcome: &Outcome| outcome.sides.len() as f64 * (BAR + GAP) + GROUP_GAP;
    let bottom = HEADER + groups.iter().map(|group| bars(group)).sum::<f64>();
    let height = bottom + 46.0;

    let mut page = Document::new()
        .set("viewBox", (0, 0, WIDTH, height))
        .set("width", WIDTH)
        .set("height", height)
        .set("role", "img")
        .add(Title::new("Seconds to build the image of examples/campus"))
        .add(Style::new(STYLE))
        .add(Rectangle::new().set("class", "page").set("width", WIDTH).set("height", height))
        .add(text("heading", 16.0, 24.0, "Seconds to build the image of examples/campus (fastest run, log scale)"));
    for (i, name) in names.iter().enumerate() {
        let x = BEGIN + 110.0 * i as f64;
        page = page.add(bar(i, x, 46.0, 12.0, 12.0)).add(text("", x + 18.0, 52.5, name));
    }
    for tick in axis.ticks() {
        let x = axis.x(tick);
        page = page
            .add(
                Line::new()
                    .set("class", "grid")
                    .set("x1", x)
                    .set("x2", x)
                    .set("y1", HEADER - 10.0)
                    .set("y2", bottom - 8.0),
            )
            .add(text("small", x, bottom + 2.0, &format!("{tick} s")).set("text-anchor", "middle"));
    }
    let mut y = HEADER;
    for group in groups {
        let middle = y + (bars(group) - GROUP_GAP - GAP) / 2.0;
        page = page.add(text("", BEGIN - 12.0, middle, &group.title).set("text-anchor", "end"));
        for (i, side) in group.sides.iter().enumerate() {
            let end = side.best.map_or(BEGIN, |best| axis.x(best));
            page = page.add(bar(i, BEGIN, y, end - BEGIN, BAR)).add(text(
                "small",
                end + 6.0,
                y + BAR / 2.0 + 0.5,
                &figures(side),
            ));
            y += BAR + GAP;
        }
        y += GROUP_GAP;
    }
    let machine = &report.machine;
    let versions: Vec<String> = machine.sides.iter().map(|side| format!("{} {}", side.name, side.release())).collect();
    let foot = format!("{}; {} cores, {}, {}", versions.join(", "), machine.cores, machine.kernel, machine.date);
    page.add(text("small", 16.0, height - 16.0, &foot)).to_string() + "\n"
}

fn text(class: &str, x: f64, y: f64, content: &str) -> Text {
    let text = Text::new(content).set("x", x).set("y", y);
    if class.is_empty() { text } else { text.set("class", class) }
}

fn bar(side: usize, x: f64, y: f64, width: f64, height: f64) -> Rectangle {
    let bar = Rectangle::new().set("class", format!("side{side}"));
    bar.set("x", x).set("y", y).set("width", width).set("height", height)
}

/// What stands at the end of a bar.
fn figures(side: &Times) -> String {
    let Some(best) = side.best else { return "failed".to_owned() };
    let seconds = match best {
        ..1.0 => format!("{best:.3} s"),
        ..10.0 => format!("{best:.2} s"),
        ..100.0 => format!("{best:.1} s"),
        _ => format!("{best:.0} s"),
    };
    match side.ratio {
        Some(ratio) if ratio >= 10.0 => format!("{seconds}  ({ratio:.0}×)"),
        Some(ratio) if ratio != 1.0 => format!("{seconds}  ({ratio:.1}×)"),
        _ => seconds,
    }
}

/// Powers of ten around all values.
struct Axis {
    from: i32,
    to: i32,
}

impl Axis {
    fn over(values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = values.fold((f64::INFINITY, 0.0_f64), |(low, high), v| (low.min(v), high.max(v)));
        if low > high {
            return Self { from: 0, to: 1 };
        }
        // A little below the least, as its bar would have no length otherwise.
        let from = (low * 0.9).log10().floor() as i32;
        Self { from, to: (high.log10().ceil() as i32).max(from + 1) }
    }

    fn x(&self, value: f64) -> f64 {
        let x = BEGIN + (END - BEGIN) * (value.log10() - f64::from(self.from)) / f64::from(self.to - self.from);
        (x * 10.0).round() / 10.0
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        (self.from..=self.to).map(|power| 10_f64.powi(power))
    }
}
