//! Curves as SVG: logarithmic to the right, from zero upwards.

use std::fmt::Write as _;

use crate::page::Curve;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 380.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 220.0;
const TOP: f64 = 20.0;
const BOTTOM: f64 = 50.0;

/// Colours that can be told apart without seeing red from green (Okabe and Ito).
const COLOURS: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"];

/// `header` names the axes: its second and third column.
pub fn svg(header: &[String], curves: &[Curve]) -> String {
    let all = || curves.iter().flat_map(|curve| curve.points.iter());
    let (least, most) = all().fold((f64::MAX, f64::MIN), |(least, most), (x, _)| (least.min(*x), most.max(*x)));
    let top = step(all().fold(0.0_f64, |top, (_, y)| top.max(*y)) / 5.0) * 5.0;
    let span = (most.ln() - least.ln()).max(f64::EPSILON);
    let x = |value: f64| LEFT + (value.ln() - least.ln()) / span * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n"
    );
    for line in 0..=5 {
        let value = top / 5.0 * f64::from(line);
        let at = y(value);
        writeln!(
            svg,
            "<path d=\"M{LEFT} {at:.1}H{:.1}\" stroke=\"#ddd\"/>\n<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{value:.0}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            at + 4.0
        )
        .expect("a String");
    }
    let mut marks: Vec<f64> = all().map(|(x, _)| *x).collect();
    marks.sort_by(f64::total_cmp);
    marks.dedup();
    for mark in marks {
        writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{mark}</text>",
            x(mark),
            HEIGHT - BOTTOM + 18.0
        )
        .expect("a String");
    }
    let middle = LEFT + (WIDTH - LEFT - RIGHT) / 2.0;
    let name = |at: usize| header.get(at).map(String::as_str).unwrap_or_default();
    writeln!(svg, "<text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>", HEIGHT - 10.0, name(1))
        .expect("a String");
    writeln!(svg, "<text x=\"8\" y=\"14\">{}</text>", name(2)).expect("a String");
    for (nth, curve) in curves.iter().enumerate() {
        let colour = COLOURS[nth % COLOURS.len()];
        let points: Vec<String> =
            curve.points.iter().map(|(at, value)| format!("{:.1},{:.1}", x(*at), y(*value))).collect();
        writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            points.join(" ")
        )
        .expect("a String");
        let at = TOP + 10.0 + 18.0 * nth as f64;
        writeln!(svg, "<text x=\"{:.1}\" y=\"{at:.1}\" fill=\"{colour}\">{}</text>", WIDTH - RIGHT + 12.0, curve.name)
            .expect("a String");
    }
    svg + "</svg>\n"
}

/// The next round number: 1, 2 or 5 with zeros.
fn step(at_least: f64) -> f64 {
    let ten = 10_f64.powf(at_least.max(1e-9).log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|n| n * ten).find(|step| *step >= at_least).unwrap_or(ten * 10.0)
}
