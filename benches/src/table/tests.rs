use std::time::Duration;

use super::{ROUNDS, Row, Unit, median, rate, times};
use crate::{Cores, Result};

fn row(is_wanted: bool) -> Row<'static> {
    Row {
        title: String::from("row"),
        cores: Cores::Free,
        is_wanted,
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
    row.contenders[0].calibrate().unwrap();
    assert!((2_000_000..=8_000_000).contains(&row.contenders[0].count));
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
