//! Draws what a lead costs as two charts, one below the other, in SVG.

use std::fmt::Write as _;

use crate::scale::Point;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 45.0;

/// Colours for bright and for dark pages.
const STYLE: &str = "<style>\n\
    text { fill: #222 } .ground { fill: #fff } .band { fill: #dcefe2 } .grid { stroke: #ccc } .line { stroke: #1a6b3c } .dot { fill: #1a6b3c }\n\
    @media (prefers-color-scheme: dark) {\n\
    text { fill: #ddd } .ground { fill: #0d1117 } .band { fill: #17331f } .grid { stroke: #3d444d } .line { stroke: #57c785 } .dot { fill: #57c785 }\n\
    }\n\
    </style>\n";

/// Both charts.
pub fn draw(by_connections: &[Point], by_stored: &[Point]) -> String {
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {0}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <title>CPU time per lead</title>\n{STYLE}<rect class=\"ground\" width=\"{WIDTH}\" height=\"{0}\"/>\n",
        2.0 * HEIGHT
    );
    let pairs = |points: &[Point], x: fn(&Point) -> usize| points.iter().map(|p| (x(p), p.cpu_ms_per_lead)).collect::<Vec<_>>();
    chart(&mut out, 0.0, "CPU ms per lead, by connections", &pairs(by_connections, |p| p.connections));
    chart(&mut out, HEIGHT, "CPU ms per lead, by leads in the store", &pairs(by_stored, |p| p.stored));
    out.push_str("</svg>\n");
    out
}

/// One chart: values over a logarithmic axis, from zero, with the band of 15 % around the first value.
fn chart(out: &mut String, top: f64, title: &str, points: &[(usize, f64)]) {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return };
    let log = |x: usize| (x.max(1) as f64).log10();
    let span = (log(last.0) - log(first.0)).max(1e-9);
    let most = points.iter().map(|p| p.1).fold(first.1 * 1.15, f64::max) * 1.1;
    let x = |value: usize| LEFT + (log(value) - log(first.0)) / span * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| top + HEIGHT - BOTTOM - value / most * (HEIGHT - TOP - BOTTOM);
    // Writing into a String cannot fail.
    let _ = write!(
        out,
        "<text x=\"{LEFT}\" y=\"{:.1}\" font-weight=\"bold\">{title}</text>\n<rect class=\"band\" x=\"{LEFT}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>\n",
        top + 24.0,
        y(first.1 * 1.15),
        WIDTH - LEFT - RIGHT,
        y(first.1 * 0.85) - y(first.1 * 1.15),
    );
    for part in 0..=4 {
        let value = most * f64::from(part) / 4.0;
        let _ = writeln!(
            out,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{1:.1}\" y2=\"{1:.1}\"/><text x=\"{2:.1}\" y=\"{3:.1}\" text-anchor=\"end\">{value:.2}</text>",
            WIDTH - RIGHT,
            y(value),
            LEFT - 8.0,
            y(value) + 4.0,
        );
    }
    let line: Vec<String> = points.iter().map(|p| format!("{:.1},{:.1}", x(p.0), y(p.1))).collect();
    let _ = writeln!(out, "<polyline class=\"line\" points=\"{}\" fill=\"none\" stroke-width=\"2\"/>", line.join(" "));
    for (at, value) in points {
        let anchor = if *at == first.0 {
            "start"
        } else if *at == last.0 {
            "end"
        } else {
            "middle"
        };
        let _ = writeln!(
            out,
            "<circle class=\"dot\" cx=\"{0:.1}\" cy=\"{1:.1}\" r=\"4\"/><text x=\"{0:.1}\" y=\"{2:.1}\" text-anchor=\"{anchor}\">{value:.3}</text><text x=\"{0:.1}\" y=\"{3:.1}\" text-anchor=\"{anchor}\">{at}</text>",
            x(*at),
            y(*value),
            y(*value) - 10.0,
            top + HEIGHT - BOTTOM + 18.0,
        );
    }
}
