//! Rows of a table: contenders that are measured in turns, and targets.
//!
//! Each contender first finds out how many operations fill a round, which warms it up. Then all are measured in turns, A B C
//! A B C …, so that what else happens on the machine hits all of them. A ratio is the median of the ratios of the rounds.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::{Cores, Result, Rival, Work, rivals};

/// How many turns each contender has, and how long one is meant to take, unless the row says otherwise.
const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_millis(40);
/// So many operations are enough for anything.
const MOST: u64 = 100_000_000;
/// A contender that takes longer than this for one turn hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many turns there were, and whose is the last one.
static TURN: Mutex<(u64, &str)> = Mutex::new((0, ""));

/// One program of measurements.
pub struct Bench {
    filters: Vec<String>,
}

impl Bench {
    /// Reads the filters from the arguments, and prints the head of the table.
    pub fn new(name: &str) -> Self {
        Self::with_filters(name, std::env::args().skip(1))
    }

    /// Prints the head of the table, of which the rows are wanted whose title contains one of the filters; all, if there is
    /// none.
    pub fn with_filters(name: &str, filters: impl IntoIterator<Item = String>) -> Self {
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        println!(
            "{name}: {} cores, load {}, {}; in turns, after a warm-up",
            mp::cpu_count(),
            load.split(' ').next().unwrap_or("unknown"),
            rivals::python_version().unwrap_or("no python3"),
        );
        println!(
            "{:<46}{:>10}{:>18}{:>13}{:>13}",
            "", "median", "fastest–slowest", "rate", "ours takes"
        );
        std::thread::spawn(watch);
        let filters = filters.into_iter().map(|a| a.to_lowercase()).collect();
        Self { filters }
    }

    /// Whether a row of this title is wanted.
    pub fn wants(&self, title: &str) -> bool {
        let title = title.to_lowercase();
        self.filters.is_empty() || self.filters.iter().any(|f| title.contains(f))
    }

    /// Begins a row.
    pub fn row<'a>(&self, what: &str, cores: Cores) -> Row<'a> {
        let title = format!("{what}, {}", cores.label());
        let is_wanted = self.wants(&title);
        Row {
            title,
            cores,
            is_wanted,
            rounds: ROUNDS,
            round: ROUND,
            contenders: Vec::new(),
            absent: Vec::new(),
            targets: Vec::new(),
        }
    }
}

/// One thing that several can do. The first contender is the one that the others are compared with, and that the targets
/// are for.
pub struct Row<'a> {
    title: String,
    cores: Cores,
    is_wanted: bool,
    rounds: usize,
    round: Duration,
    contenders: Vec<Contender<'a>>,
    absent: Vec<(&'static str, &'static str)>,
    targets: Vec<Target>,
}

struct Contender<'a> {
    name: &'static str,
    work: Work<'a>,
    count: u64,
    /// Seconds for one operation, in each round.
    rounds: Vec<f64>,
}

/// A bound for the seconds that one operation of ours takes.
enum Target {
    Time(f64),
    Rate(f64),
    TimeOf(f64, &'static str),
    RateOf(f64, &'static str),
}

impl<'a> Row<'a> {
    /// Adds a contender: `work` does so many operations, and tells how long they took.
    #[must_use]
    pub fn with(
        mut self,
        name: &'static str,
        work: impl FnMut(u64) -> Result<Duration> + 'a,
    ) -> Self {
        self.contenders.push(Contender {
            name,
            work: Box::new(work),
            count: 1,
            rounds: Vec::new(),
        });
        self
    }

    /// Adds a contender, if it can be measured here.
    #[must_use]
    pub fn with_rival(mut self, name: &'static str, rival: Rival<'a>) -> Self {
        match rival {
            Ok(work) => self.with(name, work),
            Err(why) => {
                self.absent.push((name, why));
                self
            }
        }
    }

    /// Measures in so many rounds, in each of which a contender is meant to take so long. Many short rounds tell small
    /// differences, because most of them are free of what else happens on the machine.
    #[must_use]
    pub fn rounds(mut self, rounds: usize, round: Duration) -> Self {
        (self.rounds, self.round) = (rounds, round);
        self
    }

    /// Ours is to take at most this.
    #[must_use]
    pub fn at_most(self, time: Duration) -> Self {
        self.target(Target::Time(time.as_secs_f64()))
    }

    /// Ours is to do at least so many a second.
    #[must_use]
    pub fn at_least(self, rate: f64) -> Self {
        self.target(Target::Rate(rate))
    }

    /// Ours is to take at most so many times what another contender takes.
    #[must_use]
    pub fn at_most_times(self, factor: f64, of: &'static str) -> Self {
        self.target(Target::TimeOf(factor, of))
    }

    /// Ours is to do at least so many times what another contender does in the same time.
    #[must_use]
    pub fn at_least_times(self, factor: f64, of: &'static str) -> Self {
        self.target(Target::RateOf(factor, of))
    }

    fn target(mut self, target: Target) -> Self {
        self.targets.push(target);
        self
    }

    /// Prints why nothing of the row is measured, if it is wanted.
    pub fn give_up(&self, why: &str) {
        if self.is_wanted {
            println!("{}\n  not measured: {why}", self.title);
        }
    }

    /// Measures the row and prints it, if it is wanted.
    ///
    /// # Errors
    ///
    /// The first error of a contender, with its name.
    ///
    /// # Panics
    ///
    /// When there is no contender.
    pub fn run(mut self) -> Result {
        if !self.is_wanted {
            return Ok(());
        }
        println!("{}", self.title);
        let _pinned = self.cores.pin()?;
        for contender in &mut self.contenders {
            contender.calibrate(self.round)?;
        }
        for _ in 0..self.rounds {
            for contender in &mut self.contenders {
                let elapsed = contender.work(contender.count)?;
                let each = elapsed.as_secs_f64() / contender.count as f64;
                contender.rounds.push(each);
            }
        }
        self.print();
        Ok(())
    }

    fn print(&self) {
        let ours = &self.contenders[0];
        for (place, contender) in self.contenders.iter().enumerate() {
            let mut sorted = contender.rounds.clone();
            sorted.sort_by(f64::total_cmp);
            let each = median(&sorted);
            let ratio = match place {
                0 => String::new(),
                _ => times(ours.ratio_to(contender)),
            };
            println!(
                "  {:<44}{:>10}{:>18}{:>13}{ratio:>13}",
                contender.name,
                Unit::of(each).with_name(each),
                Unit::of(each).range(sorted[0], sorted[sorted.len() - 1]),
                rate(1.0 / each),
            );
        }
        for (name, why) in &self.absent {
            println!("  {name:<44}not measured: {why}");
        }
        for target in &self.targets {
            println!("  → {}", self.verdict(target));
        }
    }

    fn verdict(&self, target: &Target) -> String {
        let ours = &self.contenders[0];
        let each = median(&ours.rounds);
        let find = |name: &str| {
            let other = self.contenders.iter().find(|other| other.name == name);
            other.map(|other| ours.ratio_to(other))
        };
        let (aim, is, met) = match *target {
            Target::Time(most) => {
                let aim = format!("at most {}", Unit::of(most).with_name(most));
                (aim, Unit::of(each).with_name(each), each <= most)
            }
            Target::Rate(least) => {
                let aim = format!("at least {}", rate(least));
                (aim, rate(1.0 / each), 1.0 / each >= least)
            }
            Target::TimeOf(most, name) => {
                let aim = format!("at most {} the time of {name}", times(most));
                match find(name) {
                    Some(ratio) => (aim, times(ratio), ratio <= most),
                    None => return format!("{aim}: unknown, it was not measured"),
                }
            }
            Target::RateOf(least, name) => {
                let aim = format!("at least {} the rate of {name}", times(least));
                match find(name) {
                    Some(ratio) => (aim, times(1.0 / ratio), 1.0 / ratio >= least),
                    None => return format!("{aim}: unknown, it was not measured"),
                }
            }
        };
        format!("{aim}: {is}, {}", if met { "met" } else { "MISSED" })
    }
}

impl Contender<'_> {
    fn work(&mut self, count: u64) -> Result<Duration> {
        let number = turn().0;
        *TURN.lock().unwrap_or_else(PoisonError::into_inner) = (number + 1, self.name);
        (self.work)(count).map_err(|error| mp::RemoteError::msg(format!("{}: {error}", self.name)))
    }

    /// Finds out how many operations fill a round.
    fn calibrate(&mut self, round: Duration) -> Result {
        loop {
            let elapsed = self.work(self.count)?;
            if elapsed >= round / 2 || self.count >= MOST {
                return Ok(());
            }
            // A short run says little: the next step is at most a hundredfold.
            let factor = round.as_secs_f64() / elapsed.as_secs_f64().max(1e-9);
            self.count = (self.count as f64 * factor.clamp(2.0, 100.0)) as u64;
        }
    }

    fn ratio_to(&self, other: &Self) -> f64 {
        let rounds = self.rounds.iter().zip(&other.rounds);
        median(
            &rounds
                .map(|(ours, theirs)| ours / theirs)
                .collect::<Vec<_>>(),
        )
    }
}

/// Ends the program when a turn does not end: a contender whose other process failed would wait for ever.
fn watch() {
    loop {
        let before = turn();
        std::thread::sleep(PATIENCE);
        if turn() == before {
            let name = before.1;
            eprintln!(
                "{name}: one turn takes more than {PATIENCE:?}; its other process failed or hangs"
            );
            // Without exit hooks: they would join the process that hangs.
            // SAFETY: it takes no pointer, and ends the process.
            unsafe { libc::_exit(1) };
        }
    }
}

fn turn() -> (u64, &'static str) {
    *TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn times(factor: f64) -> String {
    match factor {
        0.0..0.1 => format!("{factor:.4} x"),
        0.1..10.0 => format!("{factor:.2} x"),
        _ => format!("{factor:.0} x"),
    }
}

fn rate(rate: f64) -> String {
    match rate {
        0.0..1e3 => format!("{rate:.1} /s"),
        1e3..1e6 => format!("{:.1} k/s", rate / 1e3),
        _ => format!("{:.2} M/s", rate / 1e6),
    }
}

/// In what a time is printed.
struct Unit {
    name: &'static str,
    per_second: f64,
}

impl Unit {
    fn of(seconds: f64) -> Self {
        let (name, per_second) = match seconds {
            0.0..1e-6 => ("ns", 1e9),
            1e-6..1e-3 => ("µs", 1e6),
            _ => ("ms", 1e3),
        };
        Self { name, per_second }
    }

    fn with_name(&self, seconds: f64) -> String {
        format!("{:.2} {}", seconds * self.per_second, self.name)
    }

    fn range(&self, from: f64, to: f64) -> String {
        format!("{:.2}–{:.2}", from * self.per_second, to * self.per_second)
    }
}

#[cfg(test)]
mod tests;
