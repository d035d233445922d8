//! What a function hears of its children, and when.

use std::io::{self, Write};
use std::process::Command;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use mp::{Builder, OutputLine, OutputStream, Pool, Stdio};
use multiproc_tests::leaks::{alone, nothing};
use multiproc_tests::processes::{descriptors, eventually};
use multiproc_tests::watchdog::Watchdog;

/// The lines that were heard.
#[derive(Debug, Clone, Default)]
struct Heard(Arc<Mutex<Vec<OutputLine>>>);

impl Heard {
    fn listen(&self) -> impl Fn(&OutputLine) + Send + Sync + 'static {
        let Self(lines) = self.clone();
        move |line| {
            lines
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(line.clone())
        }
    }

    fn builder() -> (Self, Builder) {
        let heard = Self::default();
        let builder = Builder::new().on_output(heard.listen());
        (heard, builder)
    }

    /// What was heard of a stream.
    fn of(&self, stream: OutputStream) -> Vec<String> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = lines.iter().filter(|line| line.stream() == stream);
        lines.map(|line| line.text().into_owned()).collect()
    }

    /// What was heard of the standard output, and of the standard error.
    fn both(&self) -> [Vec<String>; 2] {
        [OutputStream::Stdout, OutputStream::Stderr].map(|stream| self.of(stream))
    }
}

/// Writes to the standard output in these pieces.
#[mp::process_fn]
fn write(pieces: Vec<Vec<u8>>) {
    for piece in pieces {
        rustix::io::write(rustix::stdio::stdout(), &piece).unwrap();
    }
}

/// Speaks in several ways.
#[mp::process_fn]
fn say(words: &str) {
    println!("{words} by println");
    eprintln!("{words} by eprintln");
    rustix::io::write(
        rustix::stdio::stdout(),
        format!("{words} by the system\n").as_bytes(),
    )
    .unwrap();
    let echo = Command::new("echo")
        .arg(format!("{words} by a program"))
        .status();
    assert!(echo.unwrap().success());
    print!("{words} by print");
    eprint!("{words} by eprint");
}

fn said(words: &str) -> [Vec<String>; 2] {
    [
        vec!["by println", "by the system", "by a program", "by print"],
        vec!["by eprintln", "by eprint"],
    ]
    .map(|lines| lines.iter().map(|line| format!("{words} {line}")).collect())
}

#[mp::test]
fn both_streams_are_heard_when_a_join_returns() {
    let _watchdog = Watchdog::new();
    for daemon in [false, true] {
        let (heard, builder) = Heard::builder();
        let process = builder
            .name("speaker")
            .daemon(daemon)
            .spawn::<say>("I")
            .unwrap();
        let pid = process.id();
        process.join().unwrap();
        assert_eq!(heard.both(), said("I"));
        for line in heard.0.lock().unwrap().iter() {
            assert_eq!((line.name(), line.pid()), ("speaker", pid));
            assert_eq!(line.to_string(), format!("[speaker] {}", line.text()));
            assert!(!line.is_continued() && !line.is_overwritten());
        }
    }
}

/// Speaks, and lets children of its own speak.
#[mp::process_fn]
fn say_below() {
    mp::spawn!(say, "below").unwrap().join().unwrap();
    let (heard, builder) = Heard::builder();
    builder.spawn::<say>("hidden").unwrap().join().unwrap();
    assert_eq!(heard.of(OutputStream::Stdout), said("hidden")[0]);
}

#[mp::test]
fn children_of_a_child_are_heard_with_it() {
    let _watchdog = Watchdog::new();
    let (heard, builder) = Heard::builder();
    builder.spawn::<say_below>(()).unwrap().join().unwrap();
    assert_eq!(heard.both(), said("below"));
}

#[mp::test]
fn all_is_heard_when_anything_that_waits_returns() {
    let _watchdog = Watchdog::new();
    let numbers: Vec<_> = (0..2000).map(|n| format!("{n}\n").into_bytes()).collect();
    let count = |heard: &Heard| heard.of(OutputStream::Stdout).len();
    for _ in 0..10 {
        let (heard, builder) = Heard::builder();
        let process = builder.spawn::<write>(numbers.clone()).unwrap();
        process.wait();
        assert_eq!(count(&heard), numbers.len());
        let (heard, builder) = Heard::builder();
        let process = builder.spawn::<write>(numbers.clone()).unwrap();
        assert!(process.wait_timeout(Duration::MAX).is_some());
        assert_eq!(count(&heard), numbers.len());
    }
}

#[mp::test]
fn bytes_are_heard_as_they_are() {
    let _watchdog = Watchdog::new();
    let (heard, builder) = Heard::builder();
    let bytes: Vec<u8> = (0..=255).filter(|byte| !b"\r\n".contains(byte)).collect();
    let pieces = vec![[&bytes, &b"\n"[..]].concat(), bytes.clone()];
    builder.spawn::<write>(pieces).unwrap().join().unwrap();
    let lines = heard.0.lock().unwrap();
    let lines: Vec<_> = lines.iter().map(OutputLine::bytes).collect();
    assert_eq!(lines, [&bytes, &bytes]);
}

#[mp::test]
fn a_long_line_comes_in_pieces() {
    let _watchdog = Watchdog::new();
    let (heard, builder) = Heard::builder();
    let pieces = vec![b"x".repeat(1000); 1000];
    builder.spawn::<write>(pieces).unwrap().join().unwrap();
    let lines = heard.0.lock().unwrap();
    let (last, others) = lines.split_last().unwrap();
    assert!(
        others
            .iter()
            .all(|line| line.is_continued() && line.bytes().len() == 64 << 10)
    );
    assert_eq!(
        (others.len(), last.bytes().len(), last.is_continued()),
        (15, 1_000_000 - 15 * (64 << 10), false)
    );
}

#[mp::test]
fn a_progress_bar_is_heard_while_it_moves() {
    #[mp::process_fn]
    fn show_progress(heard: mp::Semaphore) {
        for percent in 0..5 {
            eprint!("\r{percent} %");
            if percent > 0 {
                // The state before this one is a line now.
                heard.acquire().unwrap().forget();
            }
        }
        eprintln!();
    }
    let _watchdog = Watchdog::new();
    let semaphore = mp::Semaphore::new(0).unwrap();
    let (sender, lines) = mpsc::channel();
    let (child, heard) = (semaphore.clone(), semaphore);
    let builder = Builder::new().on_output(move |line| {
        sender
            .send((line.text().into_owned(), line.is_overwritten()))
            .unwrap();
        heard.release().unwrap();
    });
    builder
        .spawn::<show_progress>(child)
        .unwrap()
        .join()
        .unwrap();
    let expected = (0..5).map(|percent| (format!("{percent} %"), percent < 4));
    assert_eq!(
        lines.into_iter().collect::<Vec<_>>(),
        expected.collect::<Vec<_>>()
    );
}

#[mp::test]
fn what_is_set_for_a_stream_wins() {
    let _watchdog = Watchdog::new();
    for captured_first in [true, false] {
        let heard = Heard::default();
        let mut builder = Builder::new();
        if captured_first {
            builder = builder.on_output(heard.listen()).stdout(Stdio::piped());
        } else {
            builder = builder.stdout(Stdio::piped()).on_output(heard.listen());
        }
        let process = builder.spawn::<say>("I").unwrap();
        assert!(process.take_stderr().is_none());
        let stdout = io::read_to_string(process.take_stdout().expect("it is piped")).unwrap();
        process.join().unwrap();
        assert_eq!(stdout.lines().collect::<Vec<_>>(), said("I")[0]);
        assert_eq!(heard.of(OutputStream::Stdout), [] as [&str; 0]);
        assert_eq!(heard.of(OutputStream::Stderr), said("I")[1]);
    }
    // The last of the two options counts.
    let (heard, builder) = Heard::builder();
    let (late, other) = (Heard::default(), heard.clone());
    let builder = builder.capture_output().on_output(late.listen());
    builder.spawn::<say>("I").unwrap().join().unwrap();
    assert_eq!(late.of(OutputStream::Stdout), said("I")[0]);
    assert_eq!(other.of(OutputStream::Stdout), [] as [&str; 0]);
    // Nothing is captured here.
    let (heard, builder) = Heard::builder();
    let builder = builder.stdout(Stdio::null()).stderr(Stdio::null());
    builder.spawn::<say>("I").unwrap().join().unwrap();
    assert!(heard.0.lock().unwrap().is_empty());
}

#[mp::process_fn]
fn say_numbers(to: u32) {
    for n in 0..to {
        println!("{n}");
    }
}

#[mp::test]
fn a_function_that_panics_is_called_again() {
    let _watchdog = Watchdog::new();
    let (sender, lines) = mpsc::channel();
    let builder = Builder::new().on_output(move |line| {
        sender.send(line.text().into_owned()).unwrap();
        // Not `panic!`, whose message nobody is to read.
        std::panic::resume_unwind(Box::new(Bomb));
    });
    builder.spawn::<say_numbers>(100).unwrap().join().unwrap();
    let expected: Vec<_> = (0..100).map(|n| n.to_string()).collect();
    assert_eq!(lines.into_iter().collect::<Vec<_>>(), expected);
}

/// Panics when it is dropped, too.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("a payload is dropped");
    }
}

#[mp::test]
fn a_function_that_waits_holds_up_no_join_and_no_other_child() {
    let _watchdog = Watchdog::new();
    let (go, wait) = mpsc::channel::<()>();
    let (wait, (sender, lines)) = (Mutex::new(wait), mpsc::channel());
    let builder = Builder::new().on_output(move |line| {
        let _ = wait.lock().unwrap().recv();
        sender.send(line.text().into_owned()).unwrap();
    });
    let process = builder.spawn::<say_numbers>(100).unwrap();
    // It does not wait for the function for ever.
    process.join().unwrap();
    assert!(lines.try_recv().is_err());
    let (heard, builder) = Heard::builder();
    builder.spawn::<say_numbers>(100).unwrap().join().unwrap();
    assert_eq!(heard.of(OutputStream::Stdout).len(), 100);
    drop(go);
    // What was read before the join returned comes later, in order.
    let expected: Vec<_> = (0..100).map(|n| n.to_string()).collect();
    assert_eq!(lines.into_iter().collect::<Vec<_>>(), expected);
}

#[mp::test]
fn a_child_waits_for_a_function_that_waits() {
    let _watchdog = Watchdog::new();
    let (go, wait) = mpsc::channel::<()>();
    let (wait, (sender, lines)) = (Mutex::new(wait), mpsc::channel());
    let builder = Builder::new().on_output(move |line| {
        let _ = wait.lock().unwrap().recv();
        sender.send(line.bytes().len()).unwrap();
    });
    // More than the pipe holds, and what the thread has read.
    let pieces = vec![[b"x".repeat(999), b"\n".to_vec()].concat(); 1000];
    let process = builder.spawn::<write>(pieces).unwrap();
    assert_eq!(process.wait_timeout(Duration::from_millis(100)), None);
    drop(go);
    process.join().unwrap();
    assert_eq!(lines.into_iter().collect::<Vec<_>>(), [999; 1000]);
}

#[mp::test]
fn a_function_may_start_and_join_captured_processes() {
    let _watchdog = Watchdog::new();
    let (sender, lines) = mpsc::channel();
    let builder = Builder::new().on_output(move |_| {
        let (heard, builder) = Heard::builder();
        builder.spawn::<say_numbers>(3).unwrap().join().unwrap();
        Builder::new()
            .capture_output()
            .spawn::<nothing>(())
            .unwrap()
            .join()
            .unwrap();
        sender.send(heard.of(OutputStream::Stdout)).unwrap();
    });
    builder.spawn::<say_numbers>(2).unwrap().join().unwrap();
    assert_eq!(
        lines.into_iter().collect::<Vec<_>>(),
        [["0", "1", "2"], ["0", "1", "2"]]
    );
}

#[mp::test]
fn a_function_that_waits_for_its_own_child_does_not_wait_for_itself() {
    let _watchdog = Watchdog::new();
    let (give, take) = mpsc::channel::<mp::ChildProcess>();
    let (take, (sender, lines)) = (Mutex::new(take), mpsc::channel());
    let builder = Builder::new().on_output(move |line| {
        if line.text() == "0" {
            assert!(take.lock().unwrap().recv().unwrap().wait().success());
        }
        sender.send(line.text().into_owned()).unwrap();
    });
    let process = builder.spawn::<say_numbers>(10).unwrap();
    give.send((*process).clone()).unwrap();
    process.join().unwrap();
    let expected: Vec<_> = (0..10).map(|n| n.to_string()).collect();
    assert_eq!(lines.into_iter().collect::<Vec<_>>(), expected);
}

#[mp::test]
fn a_function_is_dropped_when_its_child_has_ended() {
    let _watchdog = Watchdog::new();
    let hears = |lines: Receiver<String>| lines.into_iter().count();
    let (sender, lines) = mpsc::channel();
    let listen = move |line: &OutputLine| sender.send(line.text().into_owned()).unwrap();
    let process = Builder::new()
        .on_output(listen)
        .spawn::<say_numbers>(10)
        .unwrap();
    // Nobody has waited for the process yet.
    assert_eq!(hears(lines), 10);
    process.join().unwrap();
    // Nor did anybody who has let go of it.
    let (sender, lines) = mpsc::channel();
    let listen = move |line: &OutputLine| sender.send(line.text().into_owned()).unwrap();
    drop(
        Builder::new()
            .on_output(listen)
            .spawn::<say_numbers>(10)
            .unwrap(),
    );
    assert_eq!(hears(lines), 10);
    // A process that cannot be started lets go of it, too.
    let (sender, lines) = mpsc::channel();
    let listen = move |line: &OutputLine| sender.send(line.text().into_owned()).unwrap();
    let builder = Builder::new()
        .on_output(listen)
        .current_dir("/no/such/directory");
    assert!(builder.spawn::<say_numbers>(10).is_err());
    assert_eq!(hears(lines), 0);
}

/// How many threads this process has.
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

#[mp::test]
fn captured_children_leave_no_thread_and_no_descriptor() {
    alone(|| {
        let before = threads();
        for n in 0..100 {
            let (heard, builder) = Heard::builder();
            let builder = match n % 4 {
                0 => builder.capture_output(),
                _ => builder,
            };
            let process = builder.spawn::<nothing>(()).unwrap();
            match n % 3 {
                0 => process.join().unwrap(),
                1 => drop(process.wait()),
                _ => drop(process),
            }
            assert!(heard.0.lock().unwrap().is_empty());
        }
        let ended = || (threads() == before && mp::active_children().is_empty()).then_some(());
        assert!(
            eventually(ended).is_some(),
            "{} threads, {before} before",
            threads()
        );
        // The next start looks after those that nobody waits for.
        mp::spawn!(nothing).unwrap().join().unwrap();
    });
}

#[mp::test]
fn a_process_that_was_waited_for_has_no_descriptors_of_its_output() {
    alone(|| {
        let before = descriptors().len();
        let (_heard, builder) = Heard::builder();
        let process = builder.spawn::<say_numbers>(1).unwrap();
        process.wait();
        // That of the process itself.
        assert_eq!(descriptors().len(), before + 1, "{:?}", descriptors());
        process.join().unwrap();
    });
}

#[mp::test]
fn an_isolated_process_is_heard() {
    alone(|| {
        let (heard, builder) = Heard::builder();
        let builder = builder.isolated(true);
        builder.spawn::<say>("alone").unwrap().join().unwrap();
        assert_eq!(heard.both(), said("alone"));
    });
}

#[mp::test]
fn many_children_are_heard_at_once() {
    alone(|| {
        let heard = Heard::default();
        let start = |n| {
            let builder = Builder::new()
                .name(format!("{n}"))
                .on_output(heard.listen());
            builder.spawn::<say_numbers>(500).unwrap()
        };
        let processes: Vec<_> = (0..40).map(start).collect();
        thread::scope(|scope| {
            for process in processes {
                scope.spawn(|| process.join().unwrap());
            }
        });
        let lines = std::mem::take(&mut *heard.0.lock().unwrap());
        for n in 0..40 {
            let of = lines.iter().filter(|line| line.name() == n.to_string());
            let numbers: Vec<_> = of.map(|line| line.text().into_owned()).collect();
            assert_eq!(numbers, (0..500).map(|n| n.to_string()).collect::<Vec<_>>());
        }
    });
}

#[mp::process_fn]
fn say_one(number: u32) {
    println!("{number}");
    eprintln!("{number}");
}

#[mp::test]
fn the_workers_of_a_pool_are_heard() {
    alone(|| {
        let heard = Heard::default();
        let builder = Pool::builder()
            .workers(3)
            .name("crunch")
            .max_tasks_per_worker(10);
        let pool = builder.on_output(heard.listen()).build().unwrap();
        pool.map::<say_one>(0..200).unwrap();
        drop(pool);
        for stream in [OutputStream::Stdout, OutputStream::Stderr] {
            let mut numbers = heard.of(stream);
            numbers.sort_by_key(|number| number.parse::<u32>().unwrap());
            assert_eq!(numbers, (0..200).map(|n| n.to_string()).collect::<Vec<_>>());
        }
        let lines = heard.0.lock().unwrap();
        assert!(lines.iter().all(|line| line.name().starts_with("crunch-")));
        drop(lines);
        assert_eq!(
            Arc::strong_count(&heard.0),
            1,
            "the function is gone with its pool"
        );
    });
}

#[mp::test]
fn an_awaited_process_is_heard() {
    let _watchdog = Watchdog::new();
    let (sender, lines) = mpsc::channel();
    let builder = Builder::new().on_output(move |line| sender.send(line.to_string()).unwrap());
    let process = builder.spawn::<say_numbers>(100).unwrap();
    futures::executor::block_on(async { process.await.unwrap() });
    assert_eq!(lines.into_iter().count(), 100);
    io::stdout().flush().unwrap();
}
