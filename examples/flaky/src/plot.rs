//! The plot: state, latency, refusals and calls in flight over time, as an SVG written by hand.

use std::fmt::Write as _;

use crate::{End, PERMITS, SECONDS, Seen, TIMEOUT};

const LEFT: f64 = 70.0;
const WIDTH: f64 = 860.0;
/// Top and height of each panel.
const LATENCY: (f64, f64) = (80.0, 220.0);
const REFUSED: (f64, f64) = (318.0, 24.0);
const FLIGHT: (f64, f64) = (364.0, 100.0);
const BOTTOM: f64 = FLIGHT.0 + FLIGHT.1;

const WORKED: &str = "#2a7fb8";
const FAILED: &str = "#c0392b";
const TIMED_OUT: &str = "#8e44ad";

fn x(millis: u64) -> f64 {
    LEFT + WIDTH * millis as f64 / (SECONDS * 1_000) as f64
}

fn shade(state: &str) -> &'static str {
    match state {
        "open" => "#f6c9c4",
        "half-open" => "#fbe3a6",
        _ => "#e4f3e6",
    }
}

/// The whole picture.
pub fn svg(seen: &Seen) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = draw(&mut out, seen);
    out
}

fn draw(out: &mut String, seen: &Seen) -> std::fmt::Result {
    writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 960 530\" width=\"960\" height=\"530\" \
         font-family=\"sans-serif\" font-size=\"12\" fill=\"#333\">\n\
         <title>A flaky dependency behind retry, breaker and bulkhead</title>\n\
         <rect width=\"960\" height=\"530\" fill=\"#fff\"/>\n\
         <text x=\"{LEFT}\" y=\"24\" font-size=\"16\">A bank that slows down, fails and recovers, behind retry, \
         breaker and bulkhead</text>"
    )?;
    legend(out)?;
    bands(out, seen)?;
    latency(out, seen)?;
    refused(out, seen)?;
    flight(out, seen)?;
    seconds(out)?;
    writeln!(out, "</svg>")
}

fn legend(out: &mut String) -> std::fmt::Result {
    let mut at = LEFT;
    for (state, width) in [("closed", 80.0), ("open", 70.0), ("half-open", 100.0)] {
        let fill = shade(state);
        writeln!(
            out,
            "<rect x=\"{at}\" y=\"42\" width=\"14\" height=\"14\" fill=\"{fill}\" stroke=\"#999\" \
             stroke-width=\"0.5\"/><text x=\"{}\" y=\"54\">{state}</text>",
            at + 20.0
        )?;
        at += width;
    }
    at += 30.0;
    for (name, fill, width) in
        [("call worked", WORKED, 110.0), ("call failed", FAILED, 105.0), ("call timed out", TIMED_OUT, 130.0)]
    {
        writeln!(
            out,
            "<circle cx=\"{}\" cy=\"49\" r=\"3.5\" fill=\"{fill}\"/><text x=\"{}\" y=\"54\">{name}</text>",
            at + 6.0,
            at + 16.0
        )?;
        at += width;
    }
    Ok(())
}

/// The circuit's state behind all of it.
fn bands(out: &mut String, seen: &Seen) -> std::fmt::Result {
    for (nth, (from, state)) in seen.states.iter().enumerate() {
        let to = seen.states.get(nth + 1).map_or(SECONDS * 1_000, |(at, _)| *at);
        for (top, height) in [LATENCY, REFUSED, FLIGHT] {
            writeln!(
                out,
                "<rect x=\"{:.1}\" y=\"{top}\" width=\"{:.1}\" height=\"{height}\" fill=\"{}\"/>",
                x(*from),
                // A state may be over at once, and is to be seen.
                (x(to) - x(*from)).max(1.0),
                shade(state)
            )?;
        }
    }
    Ok(())
}

fn latency(out: &mut String, seen: &Seen) -> std::fmt::Result {
    let (top, height) = LATENCY;
    let most = TIMEOUT.as_millis() as f64 * 1.1;
    let y = |millis: f64| top + height * (1.0 - millis / most);
    for millis in [0, 250, 500, 750, 1_000] {
        let at = y(f64::from(millis));
        writeln!(
            out,
            "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#999\" stroke-width=\"0.5\" \
             stroke-dasharray=\"2 3\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{millis}</text>",
            LEFT + WIDTH,
            LEFT - 8.0,
            at + 4.0
        )?;
    }
    label(out, top + height / 2.0, "latency, ms")?;
    // Those that went wrong are seen above those that did not.
    let (worked, wrong): (Vec<_>, Vec<_>) =
        seen.calls.iter().copied().partition(|(.., end)| *end == End::Worked);
    for &(at, took, end) in worked.iter().chain(&wrong) {
        let fill = match end {
            End::Worked => WORKED,
            End::Failed => FAILED,
            End::TimedOut => TIMED_OUT,
        };
        let (cx, cy) = (x(at), y(took as f64));
        writeln!(
            out,
            "<circle cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"2\" fill=\"{fill}\" fill-opacity=\"0.75\"/>"
        )?;
    }
    frame(out, LATENCY)
}

fn refused(out: &mut String, seen: &Seen) -> std::fmt::Result {
    let (top, height) = REFUSED;
    for (at, why) in &seen.refused {
        // Above the middle the circuit, below it the bulkhead.
        let (from, to) = match *why {
            "circuit-open" => (top + 2.0, top + height / 2.0 - 1.0),
            _ => (top + height / 2.0 + 1.0, top + height - 2.0),
        };
        let at = x(*at);
        writeln!(
            out,
            "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{from}\" y2=\"{to}\" stroke=\"#555\" stroke-width=\"0.8\"/>"
        )?;
    }
    for (text, at) in [("circuit", top + 10.0), ("bulkhead", top + height - 2.0)] {
        writeln!(
            out,
            "<text x=\"{}\" y=\"{at}\" text-anchor=\"end\" font-size=\"10\">{text}</text>",
            LEFT - 8.0
        )?;
    }
    writeln!(out, "<text x=\"{LEFT}\" y=\"{}\" font-size=\"11\">refused by</text>", top - 5.0)?;
    frame(out, REFUSED)
}

fn flight(out: &mut String, seen: &Seen) -> std::fmt::Result {
    let (top, height) = FLIGHT;
    let y = |calls: u32| top + height * (1.0 - f64::from(calls) / f64::from(PERMITS + 1));
    let mut path = String::new();
    let mut before = None;
    for (at, calls) in &seen.in_flight {
        match before {
            None => write!(path, "M{:.1} {:.1}", x(*at), y(*calls))?,
            Some(_) => write!(path, "H{:.1}V{:.1}", x(*at), y(*calls))?,
        }
        before = Some(*calls);
    }
    write!(path, "H{:.1}", x(SECONDS * 1_000))?;
    writeln!(out, "<path d=\"{path}\" fill=\"none\" stroke=\"#333\" stroke-width=\"1\"/>")?;
    for calls in [0, PERMITS / 2, PERMITS] {
        writeln!(
            out,
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{calls}</text>",
            LEFT - 8.0,
            y(calls) + 4.0
        )?;
    }
    let most = y(PERMITS);
    writeln!(
        out,
        "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{most:.1}\" y2=\"{most:.1}\" stroke=\"#c0392b\" stroke-width=\"0.8\" \
         stroke-dasharray=\"4 3\"/>",
        LEFT + WIDTH
    )?;
    label(out, top + height / 2.0, "in flight")?;
    frame(out, FLIGHT)
}

fn seconds(out: &mut String) -> std::fmt::Result {
    for second in (0..=SECONDS).step_by(5) {
        let at = x(second * 1_000);
        writeln!(
            out,
            "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{BOTTOM}\" y2=\"{}\" stroke=\"#333\"/>\
             <text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{second}</text>",
            BOTTOM + 5.0,
            BOTTOM + 19.0
        )?;
    }
    writeln!(
        out,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">time, s</text>",
        LEFT + WIDTH / 2.0,
        BOTTOM + 40.0
    )
}

fn label(out: &mut String, y: f64, text: &str) -> std::fmt::Result {
    writeln!(out, "<text transform=\"translate(18 {y}) rotate(-90)\" text-anchor=\"middle\">{text}</text>")
}

fn frame(out: &mut String, (top, height): (f64, f64)) -> std::fmt::Result {
    writeln!(
        out,
        "<rect x=\"{LEFT}\" y=\"{top}\" width=\"{WIDTH}\" height=\"{height}\" fill=\"none\" stroke=\"#333\" \
         stroke-width=\"0.8\"/>"
    )
}
