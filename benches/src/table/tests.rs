use std::time::Duration;

use super::{Bench, ROUND, ROUNDS, Row, Unit, median, rate, times};
use crate::{Cores, Result};

fn row(is_wanted: bool) -> Row<'static> {
    Row {
        title: String::from("row"),
        cores: Cores::Free,
        is_wanted,
        rounds: ROUNDS,
        round: ROUND,
        contenders: Vec::new(),
        absent: Vec::new(),
        targets: Vec::new(),
    }
}

/// A contender that takes so long for each operation.
fn takes(each: Duration) -> impl FnMut(u64) -> Result<Duration> {
    move |count| Ok(each * count as u32)
}

#[test]
fn a_target_is_met_or_missed_by_the_first_contender() {
    let mut row = row(true)
        .with("ours", takes(Duration::from_micros(30)))
        .with("rival", takes(Duration::from_micros(20)))
        .at_most(Duration::from_micros(30))
        .at_most(Duration::from_micros(29))
        .at_least(30e3)
        .at_most_times(1.6, "rival")
        .at_least_times(0.7, "rival")
        .at_most_times(1.0, "nobody");
    for contender in &mut row.contenders {
        let each = contender.work(1).unwrap().as_secs_f64();
        contender.rounds = vec![each; ROUNDS];
    }
    let verdicts: Vec<String> = row.targets.iter().map(|t| row.verdict(t)).collect();
    let ends = ["met", "MISSED", "met", "met", "MISSED", "not measured"];
    for (verdict, end) in verdicts.iter().zip(ends) {
        assert!(verdict.ends_with(end), "{verdict} should end with {end}");
    }
}

#[test]
fn calibration_fills_a_round() {
    let mut row = row(true).with("ours", takes(Duration::from_nanos(10)));
    row.contenders[0].calibrate(ROUND).unwrap();
    assert!((2_000_000..=8_000_000).contains(&row.contenders[0].count));
}

#[test]
fn a_row_has_the_rounds_that_it_asks_for() {
    let turns = std::cell::Cell::new(0);
    let work = |_| {
        turns.set(turns.get() + 1);
        Ok(Duration::from_millis(5))
    };
    let row = row(true).with("ours", work);
    row.rounds(12, Duration::from_millis(1)).run().unwrap();
    // One turn to find out how many operations fill a round, and the rounds.
    assert_eq!(turns.get(), 13);
}

#[test]
fn a_row_is_wanted_when_its_title_has_one_of_the_filters() {
    let bench = |filters: &[&str]| Bench {
        filters: filters.iter().map(ToString::to_string).collect(),
    };
    assert!(bench(&[]).wants("1 MiB"));
    assert!(bench(&["queue", "mib"]).wants("1 MiB"));
    assert!(!bench(&["queue"]).wants("1 MiB"));
}

#[test]
fn an_error_names_its_contender_and_an_unwanted_row_is_not_run() {
    let fails = |_| Err(mp::RemoteError::msg("the disk is full"));
    assert!(row(false).with("ours", fails).run().is_ok());
    let error = row(true).with("ours", fails).run().unwrap_err();
    assert_eq!(error.to_string(), "ours: the disk is full");
}

#[test]
fn figures_are_short() {
    assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
    assert_eq!(times(0.5), "0.50 x");
    assert_eq!(rate(2.5e6), "2.50 M/s");
    assert_eq!(Unit::of(1.5e-6).with_name(1.5e-6), "1.50 µs");
    assert_eq!(Unit::of(1e-3).range(1e-3, 2e-3), "1.00–2.00");
}
