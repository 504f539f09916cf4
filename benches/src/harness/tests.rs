//! The harness measured with peers whose figures are known.

use std::{cell::RefCell, fs};

use anyhow::bail;
use serde_json::{Value, json};

use super::*;

/// A peer whose figures are given, one a round; the first is for warming up.
fn figures(figures: impl IntoIterator<Item = f64>) -> impl Measure {
    let mut figures = figures.into_iter();
    move || figures.next().ok_or_else(|| anyhow::anyhow!("asked more often than planned"))
}

fn job(folder: &tempfile::TempDir) -> Job {
    Job::new("job").rounds(4).output(folder.path().join("out.jsonl"))
}

fn lines(folder: &tempfile::TempDir) -> Vec<Value> {
    let text = fs::read_to_string(folder.path().join("out.jsonl")).expect("written");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn a_ratio_is_taken_in_each_round_so_that_drift_does_not_show() {
    let folder = tempfile::tempdir().expect("a folder");
    // The machine slows down to a quarter; the peer is always twice the reference.
    job(&folder)
        .table("drift", Unit::time("ns"))
        .reference("vec", figures([9.0, 1.0, 2.0, 3.0, 4.0]))
        .peer("ours", figures([9.0, 2.0, 4.0, 6.0, 8.0]))
        .goal(at_most(2.0))
        .note("known")
        .guarantee("order", "yes")
        .run()
        .expect("runs");
    let lines = lines(&folder);
    assert_eq!(
        lines[1],
        json!({
            "job": "job", "subject": "drift", "peer": "ours", "unit": "ns", "min": 2.0, "median": 5.0, "max": 8.0,
            "ratio": 2.0, "ratio_iqr": 0.0, "goal": "≤ 2 ×", "verdict": "reached", "note": "known",
            "guarantees": {"order": "yes"},
        })
    );
    assert_eq!((&lines[0]["ratio"], lines[0].get("goal"), lines[0].get("note")), (&json!(1.0), None, None));
}

#[test]
fn peers_take_turns_and_each_round_begins_with_the_next_one() {
    let order = RefCell::new(String::new());
    let peer = |name: char| {
        let order = &order;
        move || {
            order.borrow_mut().push(name);
            Ok(1.0)
        }
    };
    let mut job = Job::new("job").rounds(3);
    job.table("order", Unit::time("ns")).peer("a", peer('a')).peer("b", peer('b')).run().expect("runs");
    assert_eq!(*order.borrow(), "ab ab ba ab".replace(' ', ""));
}

#[test]
fn several_goals_are_judged_each_against_its_own_peer() {
    let folder = tempfile::tempdir().expect("a folder");
    job(&folder)
        .table("goals", Unit::rate("events/s"))
        .reference("log", figures([100.0; 5]))
        .peer("other", figures([50.0; 5]))
        .peer("ours", figures([60.0; 5]))
        .goal(at_least(0.65))
        .goal(at_least(1.2).of("other"))
        .goal(at_least(60.0).absolute())
        .run()
        .expect("runs");
    assert_eq!(
        lines(&folder)[2]["verdict"],
        json!("≥ 0.65 ×: missed; ≥ 1.2 × other: reached; ≥ 60: reached")
    );
}

#[test]
fn a_round_in_which_the_probe_moved_is_repeated() {
    let folder = tempfile::tempdir().expect("a folder");
    job(&folder)
        .table("probe", Unit::time("ns"))
        .peer("ours", figures([9.0, 1.0, 99.0, 1.0, 1.0, 1.0]))
        .probe("log", 0.2, figures([10.0, 10.0, 10.0, 13.0, 10.0, 11.0, 10.0, 9.0, 10.0, 10.0]))
        .run()
        .expect("runs");
    assert_eq!(lines(&folder)[0]["max"], json!(1.0), "the round of 99 was thrown away");
}

#[test]
fn a_probe_that_never_holds_still_ends_the_job() {
    let mut restless = 1.0;
    let probe = move || {
        restless *= 2.0;
        Ok(restless)
    };
    let mut job = Job::new("job").rounds(2);
    let table = job.table("probe", Unit::time("ns")).peer("ours", || Ok(1.0)).probe("log", 0.2, probe);
    assert!(table.run().is_err());
}

#[test]
fn a_peer_that_fails_or_answers_no_figure_ends_the_job_with_its_name() {
    let fails = || bail!("lost three events");
    let error = Job::new("job").table("t", Unit::time("ns")).peer("ours", fails).run().expect_err("fails");
    assert_eq!(format!("{error:#}"), "ours: lost three events");
    let error = Job::new("job").table("t", Unit::time("ns")).peer("ours", || Ok(f64::NAN)).run();
    assert!(error.is_err());
}

#[test]
fn a_goal_against_a_peer_that_is_not_there_is_refused_before_anything_runs() {
    let never = || -> Result<f64, anyhow::Error> { panic!("measured") };
    let mut job = Job::new("job");
    assert!(job.table("t", Unit::time("ns")).peer("ours", never).goal(at_most(1.0)).run().is_err());
    assert!(
        job.table("t", Unit::time("ns")).peer("ours", never).goal(at_most(1.0).of("them")).run().is_err()
    );
    assert!(job.table("t", Unit::time("ns")).reference("a", never).reference("b", never).run().is_err());
}

#[test]
fn timing_calls_the_work_as_often_as_said() {
    let mut turns = Vec::new();
    assert!(nanos_each(3, |turn| turns.push(turn)) >= 0.0);
    assert!(per_second(2, |turn| turns.push(turn)) > 0.0);
    assert_eq!(turns, [0, 1, 2, 0, 1]);
}

#[test]
fn a_peer_that_is_missing_is_told_in_the_note_of_the_reference_and_goals_against_it_are_dropped() {
    let folder = tempfile::tempdir().expect("a folder");
    let broken: anyhow::Result<()> = Err(anyhow::anyhow!("`node` is not installed"));
    job(&folder)
        .table("missing", Unit::time("ns"))
        .reference("vec", figures([1.0; 5]))
        .note("known")
        .peer("ours", figures([2.0; 5]))
        .goal(at_most(2.0))
        .goal(at_most(1.0).of("mitt"))
        .peer_if("mitt", broken, |()| || -> anyhow::Result<f64> { panic!("measured") })
        .note("said of one that is not there, and of no other")
        .peer_if("signals", Ok(3.0), |figure: f64| move || Ok(figure))
        .run()
        .expect("runs");
    let lines = lines(&folder);
    assert_eq!(lines[0]["note"], json!("known; MISSING in this run: mitt (`node` is not installed)"));
    assert_eq!((&lines[1]["goal"], lines[1].get("note"), lines.len()), (&json!("≤ 2 ×"), None, 3));
    assert_eq!(lines[2]["median"], json!(3.0));
}
