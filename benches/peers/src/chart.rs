//! Charts, as SVG that is legible on light and on dark pages.

use std::fmt::Write;

const WIDTH: f64 = 760.0;
const FONT: &str = "font-family=\"sans-serif\" fill=\"#1f2328\"";
const GREY: &str = "#d0d7de";

/// One bar.
pub struct Bar {
    pub label: &'static str,
    pub color: &'static str,
    pub value: f64,
}

/// One line, through the same places as all others.
pub struct Line {
    pub label: String,
    pub color: &'static str,
    pub is_dashed: bool,
    pub values: Vec<f64>,
}

/// Groups of bars, one beneath the other, each group with a heading and a scale of its own.
pub fn bars(title: &str, groups: &[(&str, Vec<Bar>)]) -> String {
    const LEFT: f64 = 190.0;
    const RIGHT: f64 = 80.0;
    const STEP: f64 = 22.0;
    let (mut y, mut body) = (56.0, String::new());
    for (heading, bars) in groups {
        let greatest = bars.iter().map(|bar| bar.value).fold(1.0, f64::max);
        text(&mut body, 12.0, y, "start", 13, true, &heading.replace('`', ""));
        for bar in bars {
            y += STEP;
            let width = bar.value / greatest * (WIDTH - LEFT - RIGHT);
            text(&mut body, LEFT - 8.0, y, "end", 12, false, bar.label);
            let (top, color) = (y - 12.0, bar.color);
            put(
                &mut body,
                &format!("<rect x=\"{LEFT}\" y=\"{top}\" width=\"{width:.1}\" height=\"15\" fill=\"{color}\"/>"),
            );
            text(&mut body, LEFT + width + 6.0, y, "start", 12, false, &thousands(bar.value));
        }
        y += STEP + 14.0;
    }
    page(title, y - 14.0, &body)
}

/// Lines over places that are named along the lower edge; from zero.
pub fn lines(title: &str, places: &[String], lines: &[Line]) -> String {
    const LEFT: f64 = 70.0;
    const RIGHT: f64 = 250.0;
    const TOP: f64 = 60.0;
    const HEIGHT: f64 = 260.0;
    let greatest = lines.iter().flat_map(|line| &line.values).copied().fold(1.0, f64::max);
    let step = round_step(greatest / 4.0);
    let top = (greatest / step).ceil() * step;
    let width = WIDTH - LEFT - RIGHT;
    let x = |place: usize| LEFT + width * place as f64 / (places.len().max(2) - 1) as f64;
    let y = |value: f64| TOP + HEIGHT * (1.0 - value / top);
    let mut body = String::new();
    for mark in 0..=(top / step) as u32 {
        let value = f64::from(mark) * step;
        let (height, end) = (y(value), LEFT + width);
        put(&mut body, &format!("<path d=\"M{LEFT} {height:.1}H{end:.1}\" stroke=\"{GREY}\"/>"));
        text(&mut body, LEFT - 8.0, height + 4.0, "end", 12, false, &thousands(value));
    }
    for (place, name) in places.iter().enumerate() {
        text(&mut body, x(place), TOP + HEIGHT + 20.0, "middle", 12, false, name);
    }
    let mut labels: Vec<(f64, &Line)> =
        lines.iter().filter_map(|line| Some((y(*line.values.last()?) + 4.0, line))).collect();
    labels.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut lowest = 0.0_f64;
    for (height, line) in labels {
        let points: Vec<String> =
            line.values.iter().enumerate().map(|(place, value)| format!("{:.1} {:.1}", x(place), y(*value))).collect();
        let (points, color) = (points.join("L"), line.color);
        let dashes = if line.is_dashed { " stroke-dasharray=\"6 4\"" } else { "" };
        put(
            &mut body,
            &format!("<path d=\"M{points}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2.5\"{dashes}/>"),
        );
        // Labels keep clear of each other.
        lowest = height.max(lowest + 16.0);
        text(&mut body, LEFT + width + 10.0, lowest, "start", 12, false, &line.label);
    }
    page(title, TOP + HEIGHT + 36.0, &body)
}

/// 1, 2 or 5, and noughts.
fn round_step(about: f64) -> f64 {
    let power = 10_f64.powf(about.log10().floor());
    [1.0, 2.0, 5.0].into_iter().map(|digit| digit * power).find(|step| *step >= about).unwrap_or(10.0 * power)
}

/// A number with commas, such as `12,345`.
pub fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

fn text(body: &mut String, x: f64, y: f64, anchor: &str, size: u32, is_bold: bool, text: &str) {
    let weight = if is_bold { " font-weight=\"bold\"" } else { "" };
    let place = format!("x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\"");
    put(body, &format!("<text {place} font-size=\"{size}\"{weight} {FONT}>{text}</text>"));
}

fn put(body: &mut String, element: &str) {
    // A String takes whatever is written.
    let _ = writeln!(body, "{element}");
}

fn page(title: &str, height: f64, body: &str) -> String {
    let mut head = String::new();
    text(&mut head, 12.0, 26.0, "start", 15, true, title);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n{head}{body}</svg>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_easy_to_read() {
        let shown = [0.0, 999.4, 1000.0, 1_234_567.0].map(thousands);
        assert_eq!(shown, ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([1.1, 3.0, 7000.0].map(round_step).map(thousands), ["2", "5", "10,000"]);
    }
}
