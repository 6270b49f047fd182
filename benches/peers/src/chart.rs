//! Draws charts as SVG, legible on light and dark pages.

use std::fmt::Write;

const WIDTH: f64 = 760.0;
const FONT: &str = "font-family=\"sans-serif\" fill=\"#1f2328\"";
const GREY: &str = "#d0d7de";

/// One row of a bar chart, with a bar in each column.
pub struct BarRow {
    pub label: &'static str,
    pub color: &'static str,
    pub values: [Option<f64>; 2],
}

/// One line of a line chart.
pub struct Series {
    pub label: String,
    pub color: &'static str,
    pub is_dashed: bool,
    /// One value per label of the x axis.
    pub values: Vec<f64>,
}

/// Draws groups of horizontal bars in two columns, on one scale.
pub fn bars(title: &str, columns: [&str; 2], groups: &[(&str, Vec<BarRow>)]) -> String {
    const LEFT: [f64; 2] = [172.0, 480.0];
    const LENGTH: f64 = 222.0;
    const STEP: f64 = 17.0;
    let values = groups.iter().flat_map(|(_, rows)| rows).flat_map(|row| row.values).flatten();
    let max = values.fold(1.0, f64::max);
    let (mut y, mut body) = (50.0, String::new());
    for (left, column) in LEFT.into_iter().zip(columns) {
        text(&mut body, left, y, "start", 13, true, column);
    }
    for (heading, rows) in groups {
        y += STEP + 7.0;
        text(&mut body, 12.0, y, "start", 13, true, &heading.replace('`', ""));
        for row in rows {
            y += STEP;
            text(&mut body, LEFT[0] - 8.0, y, "end", 12, false, row.label);
            for (column, left) in LEFT.into_iter().enumerate() {
                let Some(value) = row.values[column] else { continue };
                let (top, width, color) = (y - 10.0, value / max * LENGTH, row.color);
                push_element(
                    &mut body,
                    &format!("<rect x=\"{left}\" y=\"{top}\" width=\"{width:.1}\" height=\"12\" fill=\"{color}\"/>"),
                );
                text(&mut body, left + width + 5.0, y, "start", 11, false, &thousands(value));
            }
        }
    }
    page(title, y + 12.0, &body)
}

/// Draws lines over labels of the x axis. The y axis starts at zero.
pub fn lines(title: &str, x_labels: &[String], series: &[Series]) -> String {
    const LEFT: f64 = 70.0;
    const RIGHT: f64 = 250.0;
    const TOP: f64 = 60.0;
    const HEIGHT: f64 = 260.0;
    let max = series.iter().flat_map(|series| &series.values).copied().fold(1.0, f64::max);
    let (step, width) = (round_step(max / 4.0), WIDTH - LEFT - RIGHT);
    let top = (max / step).ceil() * step;
    let x = |index: usize| LEFT + width * index as f64 / (x_labels.len().max(2) - 1) as f64;
    let y = |value: f64| TOP + HEIGHT * (1.0 - value / top);
    let mut body = String::new();
    for mark in 0..=(top / step) as u32 {
        let value = f64::from(mark) * step;
        let (height, end) = (y(value), LEFT + width);
        push_element(&mut body, &format!("<path d=\"M{LEFT} {height:.1}H{end:.1}\" stroke=\"{GREY}\"/>"));
        text(&mut body, LEFT - 8.0, height + 4.0, "end", 12, false, &thousands(value));
    }
    for (index, label) in x_labels.iter().enumerate() {
        text(&mut body, x(index), TOP + HEIGHT + 20.0, "middle", 12, false, label);
    }
    let mut labels: Vec<(f64, &Series)> =
        series.iter().filter_map(|series| Some((y(*series.values.last()?) + 4.0, series))).collect();
    labels.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut lowest = 0.0_f64;
    for (height, series) in labels {
        let points: Vec<String> = series
            .values
            .iter()
            .enumerate()
            .map(|(index, value)| format!("{:.1} {:.1}", x(index), y(*value)))
            .collect();
        let (points, color) = (points.join("L"), series.color);
        let dashes = if series.is_dashed { " stroke-dasharray=\"6 4\"" } else { "" };
        push_element(
            &mut body,
            &format!("<path d=\"M{points}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2.5\"{dashes}/>"),
        );
        // Labels must not overlap.
        lowest = height.max(lowest + 16.0);
        text(&mut body, LEFT + width + 10.0, lowest, "start", 12, false, &series.label);
    }
    page(title, TOP + HEIGHT + 36.0, &body)
}

/// The smallest number that is at least `min` and 1, 2 or 5 times a power of ten.
fn round_step(min: f64) -> f64 {
    let power = 10_f64.powf(min.log10().floor());
    [1.0, 2.0, 5.0].into_iter().map(|digit| digit * power).find(|step| *step >= min).unwrap_or(10.0 * power)
}

/// Formats a number with commas, such as `12,345`.
pub fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

fn text(body: &mut String, x: f64, y: f64, anchor: &str, size: u32, is_bold: bool, text: &str) {
    let weight = if is_bold { " font-weight=\"bold\"" } else { "" };
    let position = format!("x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\"");
    push_element(body, &format!("<text {position} font-size=\"{size}\"{weight} {FONT}>{text}</text>"));
}

fn push_element(body: &mut String, element: &str) {
    // Writing to a String cannot fail.
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
    fn numbers_have_commas_and_steps_are_round() {
        let shown = [0.0, 999.4, 1000.0, 1_234_567.0].map(thousands);
        assert_eq!(shown, ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([1.1, 3.0, 7000.0].map(round_step).map(thousands), ["2", "5", "10,000"]);
    }
}
