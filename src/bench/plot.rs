//! What grows, drawn: the CPU time of a record of pass-through and lethe, and their ratio.

use anyhow::anyhow;
use plotters::prelude::*;

use super::growth::{Grown, Point};

const WIDTH: u32 = 720;
const HEIGHT: u32 = 400;
const FONT: &str = "sans-serif";
/// Room above the highest point, for its ratio.
const HEADROOM: f64 = 1.3;
const FLOOR: RGBColor = RGBColor(120, 120, 120);
const LETHE: RGBColor = RGBColor(31, 119, 180);

/// As SVG. The points stand at even distances, whatever lies between them.
///
/// # Errors
/// It cannot be drawn.
pub fn svg(grown: &Grown) -> anyhow::Result<String> {
    let mut text = String::new();
    draw(grown, &mut text).map_err(|error| anyhow!("drawing: {error}"))?;
    Ok(text)
}

fn draw(grown: &Grown, text: &mut String) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let points = &grown.points;
    let floor = |point: &Point| point.measured.median.floor.cpu_us_a_record;
    let lethe = |point: &Point| point.measured.median.lethe.cpu_us_a_record;
    let highest = points.iter().map(|point| lethe(point).max(floor(point))).fold(0.0, f64::max);
    let last = points.len().saturating_sub(1) as f64;
    let area = SVGBackend::with_string(text, (WIDTH, HEIGHT)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(format!("CPU of a record, by {}", grown.over.axis()), (FONT, 18))
        .margin(14)
        .x_label_area_size(42)
        .y_label_area_size(54)
        .build_cartesian_2d(-0.3..last + 0.3, 0.0..highest * HEADROOM)?;
    let label = |at: &f64| {
        let is_point = (at - at.round()).abs() < 0.01 && *at >= 0.0;
        let point = points.get(at.round() as usize).filter(|_| is_point);
        point.map_or_else(String::new, |point| short(point.at))
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(2 * points.len() + 1)
        .x_label_formatter(&label)
        .x_desc(grown.over.axis())
        .y_desc("µs of CPU")
        .label_style((FONT, 13))
        .draw()?;
    for (name, colour, of) in [
        ("pass-through", FLOOR, &floor as &dyn Fn(&Point) -> f64),
        ("lethe, with the ratio", LETHE, &lethe),
    ] {
        let line: Vec<(f64, f64)> =
            points.iter().enumerate().map(|(at, point)| (at as f64, of(point))).collect();
        chart
            .draw_series(LineSeries::new(line, colour.stroke_width(2)).point_size(3))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    let ratios = points.iter().enumerate().map(|(at, point)| {
        let ratio = format!("{:.2}", point.measured.cpu_ratio);
        let at = (at as f64, lethe(point) + highest * 0.08);
        Text::new(ratio, at, (FONT, 13).into_font().color(&LETHE))
    });
    chart.draw_series(ratios)?;
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE)
        .border_style(FLOOR)
        .label_font((FONT, 13))
        .draw()?;
    area.present()?;
    Ok(())
}

/// A number as an axis has room for it.
fn short(number: u64) -> String {
    match number {
        0..1_000 => number.to_string(),
        1_000..1_000_000 if number.is_multiple_of(1_000) => format!("{}k", number / 1_000),
        1_000_000.. if number.is_multiple_of(1_000_000) => format!("{}M", number / 1_000_000),
        1_000.. => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failing test is the point")]

    use std::time::Duration;

    use super::*;
    use crate::bench::figures::{Comparison, Figures, Floor, Round};
    use crate::bench::growth::Over;

    #[test]
    fn every_point_is_drawn_with_its_ratio() {
        let figures = |cpu_s| Figures::new(1_000_000, Duration::from_secs(cpu_s), 2.0, 1e6, 0);
        let point = |at, lethe| {
            let round = Round { floor: figures(4), lethe: figures(lethe) };
            Point { at, measured: Comparison::new(Floor::PassThrough, 2, vec![round]) }
        };
        let grown = Grown { over: Over::Tenants, points: vec![point(1, 5), point(100_000, 7)] };
        let svg = svg(&grown).unwrap();
        for text in ["<svg", "CPU of a record, by tenants", "1.25", "1.75", "100k", "pass-through"]
        {
            assert!(svg.contains(text), "{text} is not in\n{svg}");
        }
    }
}
