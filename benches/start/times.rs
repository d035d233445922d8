//! How long starts take.

use std::time::Duration;

use benches::rivals::{procspawn, python, python_of};
use benches::{Bench, Cores, Result, Row};
use mp::StartMethod;

use crate::SMALL;
use crate::parent::{AT_ONCE, By, Load, MEGABYTE, Parent};

/// A start method, and what it is compared with.
struct Method {
    method: StartMethod,
    name: &'static str,
    by: By,
    /// The least that such a start needs.
    limit: By,
    limit_name: &'static str,
    /// How many times that ours may take.
    most: f64,
    python: &'static str,
    python_nothing: &'static str,
    python_megabyte: &'static str,
    python_hundred: &'static str,
}

const METHODS: [Method; 3] = [
    Method {
        method: StartMethod::Spawn,
        name: "mp, Spawn",
        by: By::Spawn,
        limit: By::BareSpawn,
        limit_name: "posix_spawn + wait",
        most: 1.15,
        python: "Python, spawn",
        python_nothing: "process_spawn",
        python_megabyte: "megabyte_spawn",
        python_hundred: "at_once_spawn",
    },
    Method {
        method: StartMethod::Forkserver,
        name: "mp, Forkserver",
        by: By::Forkserver,
        limit: By::BareServer,
        limit_name: "request, fork, _exit, wait, reply",
        most: 1.3,
        python: "Python, forkserver",
        python_nothing: "process_forkserver",
        python_megabyte: "megabyte_forkserver",
        python_hundred: "at_once_forkserver",
    },
    Method {
        method: StartMethod::Fork,
        name: "mp, Fork",
        by: By::Fork,
        limit: By::BareFork,
        limit_name: "fork + _exit + wait",
        most: 1.5,
        python: "Python, fork",
        python_nothing: "process_fork",
        python_megabyte: "megabyte_fork",
        python_hundred: "at_once_fork",
    },
];

/// `large` is the memory of large parents, in megabytes.
pub fn run(bench: &Bench, large: usize) -> Result {
    for cores in [Cores::Free, Cores::Same] {
        for method in &METHODS {
            method.nothing(bench, cores)?;
        }
    }
    for method in &METHODS {
        method.large_parent(bench, large)?;
    }
    for method in &METHODS {
        method.megabyte(bench)?;
    }
    for method in &METHODS {
        method.hundred(bench)?;
    }
    Ok(())
}

/// Ratios of a few percent are to be told: many rounds of some ten starts each.
fn row<'a>(bench: &Bench, what: &str, cores: Cores) -> Row<'a> {
    bench.row(what, cores).rounds(31, Duration::from_millis(15))
}

impl Method {
    /// A row about this method, or `None` where there is none.
    fn row<'a>(&self, bench: &Bench, what: &str, cores: Cores) -> Option<Row<'a>> {
        let row = row(bench, &format!("{}: {what}", self.method), cores);
        if StartMethod::available().contains(&self.method) {
            return Some(row);
        }
        row.give_up(NOT_HERE);
        None
    }

    fn nothing(&self, bench: &Bench, cores: Cores) -> Result {
        let what = format!("start + join of nothing, {SMALL} MB parent");
        let Some(row) = self.row(bench, &what, cores) else {
            return Ok(());
        };
        let parent = Parent::new(SMALL);
        let row = row
            .with(self.name, parent.starts(self.by, Load::Nothing))
            .with(self.limit_name, parent.starts(self.limit, Load::Nothing))
            .with_rival(self.python, python_of(SMALL, self.python_nothing))
            .at_most_times(self.most, self.limit_name);
        match self.method {
            StartMethod::Spawn => row
                .with_rival("procspawn", procspawn::processes(1, 0))
                .with_rival("crossmist", Err(CROSSMIST))
                .at_most_times(1.0, "crossmist"),
            _ => row.with(
                "posix_spawn + wait",
                parent.starts(By::BareSpawn, Load::Nothing),
            ),
        }
        .run()
    }

    /// Only a fork may cost more there.
    fn large_parent(&self, bench: &Bench, large: usize) -> Result {
        let what = format!("start + join of nothing, {large} MB parent");
        let Some(row) = self.row(bench, &what, Cores::Free) else {
            return Ok(());
        };
        let (parent, small) = (Parent::new(large), Parent::new(SMALL));
        let row = row.with(self.name, parent.starts(self.by, Load::Nothing));
        let row = match self.method {
            StartMethod::Fork => row.at_most_times(self.most, FORK),
            _ => row
                .with(self.limit_name, parent.starts(self.limit, Load::Nothing))
                .with(IN_SMALL, small.starts(self.by, Load::Nothing))
                .at_most_times(1.05, IN_SMALL),
        };
        row.with(FORK, parent.starts(By::BareFork, Load::Nothing))
            .with_rival(
                "Python of that size, fork",
                python_of(large, "process_fork"),
            )
            .run()
    }

    fn megabyte(&self, bench: &Bench) -> Result {
        let Some(row) = self.row(bench, "1 MiB of arguments", Cores::Free) else {
            return Ok(());
        };
        let parent = Parent::new(SMALL);
        row.with(self.name, parent.starts(self.by, Load::Megabyte))
            .with(
                "the same without arguments",
                parent.starts(self.by, Load::Nothing),
            )
            .with_rival(self.python, python(self.python_megabyte))
            .with_rival("procspawn", procspawn::processes(1, MEGABYTE))
            .run()
    }

    /// An operation is one process.
    fn hundred(&self, bench: &Bench) -> Result {
        let Some(row) = self.row(bench, "each of 100 at once", Cores::Free) else {
            return Ok(());
        };
        let parent = Parent::new(SMALL);
        row.rounds(7, Duration::from_millis(15))
            .with(self.name, parent.starts(self.by, Load::Hundred))
            .with(self.limit_name, parent.starts(self.limit, Load::Hundred))
            .with("the same one by one", parent.starts(self.by, Load::Nothing))
            .with_rival(self.python, python(self.python_hundred))
            .with_rival("procspawn", procspawn::processes(AT_ONCE, 0))
            .run()
    }
}

const FORK: &str = "fork + _exit + wait";
const IN_SMALL: &str = "the same in a small parent";
pub const NOT_HERE: &str = "this version does not have the method";
/// 0.88 ms, which was 1.04 times `posix_spawn`, and 147 KiB, when it was built with Rust 1.88.
pub const CROSSMIST: &str = "it does not work since Rust 1.95";
