//! A child that ends at each hop of its way, in each manner: a named error, no hang, nothing left behind.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::abort;

use mp::{ProcessError, Ran};
use multiproc_tests::leaks::{alone, nothing};
use multiproc_tests::program::Folder;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A manner of ending.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum How {
    Panic,
    Exit(i32),
    Abort,
    Kill,
    Overflow,
}

const MANNERS: [How; 6] = [
    How::Panic,
    How::Exit(0),
    How::Exit(7),
    How::Abort,
    How::Kill,
    How::Overflow,
];

impl How {
    fn end(self) -> ! {
        match self {
            How::Panic => panic!("on purpose"),
            How::Exit(code) => std::process::exit(code),
            How::Abort => abort(),
            How::Kill => {
                let _ = rustix::process::kill_process(
                    rustix::process::getpid(),
                    rustix::process::Signal::KILL,
                );
                unreachable!("SIGKILL returns to nobody")
            }
            How::Overflow => panic!("{}", overflow(1)),
        }
    }

    /// Checks that this is how the process ended, and where.
    #[track_caller]
    fn check(self, error: &ProcessError, ran: Ran) {
        let as_expected = match (self, error) {
            (How::Panic, ProcessError::Panicked(panic)) => panic.message() == "on purpose",
            (How::Exit(code), ProcessError::Exited { code: exited, .. }) => *exited == code,
            (How::Abort | How::Overflow, ProcessError::Signaled { signal: 6, .. }) => true,
            (How::Kill, ProcessError::Signaled { signal: 9, .. }) => true,
            _ => false,
        };
        assert!(as_expected, "{self:?}: {error:?}");
        assert_eq!(error.ran(), ran, "{self:?}: {error}");
    }
}

/// Overflows the stack.
#[expect(unconditional_recursion, reason = "that is its purpose")]
fn overflow(n: u64) -> u64 {
    std::hint::black_box([n; 64]);
    overflow(n + 1) + 1
}

/// Ends the process that decodes it.
#[derive(Debug)]
struct EndsDecoding(How);

impl Serialize for EndsDecoding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for EndsDecoding {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        How::deserialize(deserializer)?.end()
    }
}

/// Ends the process that encodes it.
#[derive(Debug, Deserialize)]
struct EndsEncoding(How);

impl Serialize for EndsEncoding {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        self.0.end()
    }
}

/// Handles before and after what ends the process, and a message that nobody takes.
type Baggage = (mp::Queue<String>, mp::Lock, mp::Value<u64>);

fn baggage() -> Baggage {
    let queue = mp::Queue::new().unwrap();
    queue.put("a message".repeat(1000)).unwrap();
    (queue, mp::Lock::new().unwrap(), mp::Value::new(1).unwrap())
}

#[mp::process_fn]
fn never_called(before: Baggage, _: EndsDecoding, after: Baggage) {
    unreachable!("{before:?} {after:?}")
}

#[mp::process_fn]
fn end(_baggage: Baggage, how: How) {
    how.end()
}

#[mp::process_fn]
fn end_with_new_objects(how: How, results: mp::Queue<mp::Queue<String>>) {
    let (queue, lock, value) = baggage();
    results.put(queue.clone()).unwrap();
    let _guards = (lock.lock().unwrap(), value.lock().unwrap());
    how.end()
}

#[mp::process_fn]
fn return_the_end(baggage: Baggage, how: How) -> (Baggage, EndsEncoding) {
    (baggage, EndsEncoding(how))
}

#[mp::process_fn]
fn return_a_trap(how: How) -> (Baggage, EndsDecoding) {
    (baggage(), EndsDecoding(how))
}

#[mp::test]
fn an_end_while_decoding_is_told_and_leaves_nothing() {
    alone(|| {
        for how in MANNERS {
            let process =
                mp::spawn!(never_called, baggage(), EndsDecoding(how), baggage()).unwrap();
            how.check(&process.join().unwrap_err(), Ran::No);
        }
    });
}

#[mp::test]
fn an_end_while_running_is_told_and_leaves_nothing() {
    alone(|| {
        for how in MANNERS {
            let process = mp::spawn!(end, baggage(), how).unwrap();
            how.check(&process.join().unwrap_err(), Ran::Partly);
        }
    });
}

#[mp::test]
fn an_end_with_locks_held_is_told_and_leaves_nothing() {
    alone(|| {
        for how in MANNERS {
            let results = mp::Queue::new().unwrap();
            let process = mp::spawn!(end_with_new_objects, how, results.clone()).unwrap();
            how.check(&process.join().unwrap_err(), Ran::Partly);
            // What the child gave away outlives it.
            assert_eq!(results.get().unwrap().get().unwrap().len(), 9000);
        }
    });
}

#[mp::test]
fn an_end_while_encoding_the_value_is_told_and_leaves_nothing() {
    alone(|| {
        for how in MANNERS {
            let process = mp::spawn!(return_the_end, baggage(), how).unwrap();
            let error = process.join().unwrap_err();
            how.check(&error, Ran::Yes);
            assert!(
                !error.to_string().contains("before its function returned"),
                "{error}"
            );
        }
    });
}

#[mp::test]
fn a_panic_while_the_parent_decodes_the_value_is_the_parents_and_leaves_nothing() {
    alone(|| {
        let process = mp::spawn!(return_a_trap, How::Panic).unwrap();
        let panic = catch_unwind(AssertUnwindSafe(|| process.join().map(drop))).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"on purpose"));
        mp::spawn!(nothing).unwrap().join().unwrap();
    });
}

#[mp::process_fn]
fn take_trap(_: Baggage, _: EndsEncoding) {}

#[mp::test]
fn a_panic_while_the_parent_encodes_an_argument_is_the_parents_and_leaves_nothing() {
    alone(|| {
        let spawn = || mp::spawn!(take_trap, baggage(), EndsEncoding(How::Panic)).map(drop);
        let panic = catch_unwind(spawn).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"on purpose"));
        mp::spawn!(nothing).unwrap().join().unwrap();
    });
}

#[mp::test]
fn a_value_that_nobody_takes_leaves_nothing() {
    alone(|| {
        let process = mp::spawn!(return_a_trap, How::Abort).unwrap();
        assert!(process.wait().success());
        drop(process);
        let process = mp::spawn!(return_a_trap, How::Abort).unwrap();
        let ended = multiproc_tests::processes::Watched::new(process.id());
        drop(process);
        ended.ends();
        // The next start looks after those that nobody waits for.
        mp::spawn!(nothing).unwrap().join().unwrap();
    });
}

/// Returns, and then does not come to its end, because it joins a child of its own.
#[mp::process_fn]
fn return_with_a_child(forever: mp::Event) -> String {
    let ready = mp::Event::new().unwrap();
    mp::spawn!(wait_readily, ready.clone(), forever).unwrap();
    ready.wait().unwrap();
    "a value".repeat(1000)
}

#[mp::process_fn]
fn wait_readily(ready: mp::Event, event: mp::Event) {
    ready.set();
    event.wait().unwrap();
}

#[mp::test]
fn a_value_is_safe_from_what_happens_at_the_childs_exit() {
    alone(|| {
        let release = mp::Event::new().unwrap();
        let used = mp::arena_stats().unwrap().used;
        let process = mp::spawn!(return_with_a_child, release.clone()).unwrap();
        // The value lies in the arena; the rest of what is there is smaller.
        let left = || (mp::arena_stats().unwrap().used > used + 7000).then_some(());
        assert!(multiproc_tests::processes::eventually(left).is_some());
        process.kill().unwrap();
        process.wait();
        assert_eq!(process.exit_code(), Some(-9));
        assert_eq!(process.join().unwrap().len(), 7000);
        release.set();
        let orphan_is_gone = || (mp::arena_stats().unwrap().processes == 1).then_some(());
        assert!(multiproc_tests::processes::eventually(orphan_is_gone).is_some());
    });
}

#[mp::test]
fn an_end_before_the_order_is_taken_is_told_and_leaves_nothing() {
    let folder = Folder::new();
    let killed = folder.script("killed", "#!/bin/sh\nkill -KILL $$\n");
    let killed = killed.to_str().unwrap();
    let programs = [
        ("/bin/true", 0),
        ("/bin/false", 1),
        (killed, -9),
        (env!("CARGO_BIN_EXE_bare"), 0),
    ];
    alone(|| {
        for (program, expected) in programs {
            for stdio in [mp::Stdio::inherit, mp::Stdio::null, mp::Stdio::piped] {
                mp::set_executable(program);
                let builder = mp::Builder::new().stdout(stdio()).stderr(stdio());
                let process = builder.spawn::<end>((baggage(), How::Panic)).unwrap();
                let (name, pid) = (process.name().to_owned(), process.id());
                let error = process.join().unwrap_err();
                let (text, ran) = (error.to_string(), error.ran());
                match error {
                    ProcessError::Signaled { signal, .. } => {
                        assert_eq!(-signal, expected, "{program}: {text}")
                    }
                    ProcessError::NotStarted { code, .. } => {
                        assert_eq!(code, expected, "{program}: {text}")
                    }
                    other => panic!("{program}: {other:?}"),
                }
                assert_eq!(ran, Ran::No, "{program}");
                for word in [name.as_str(), &pid.to_string(), "process_crash::end"] {
                    assert!(text.contains(word), "{text}");
                }
            }
        }
        mp::set_executable("/proc/self/exe");
    });
}

#[mp::test]
fn a_kill_at_any_moment_of_the_start_is_told_and_leaves_nothing() {
    alone(|| {
        let mut ends = [0; 3];
        for moment in 0..300_u64 {
            let process = mp::spawn!(return_with_baggage, baggage()).unwrap();
            for step in 0..moment * 1_000 {
                std::hint::black_box(step);
            }
            process.kill().unwrap();
            match process.join() {
                Ok(baggage) => {
                    assert_eq!(baggage.0.len(), 1);
                    ends[0] += 1;
                }
                Err(ProcessError::Signaled {
                    signal: 9, subject, ..
                }) => match subject.ran {
                    Ran::No => ends[1] += 1,
                    _ => ends[2] += 1,
                },
                Err(error) => panic!("{error:?}"),
            }
        }
        println!("[value, killed before, killed later]: {ends:?}");
    });
}

#[mp::process_fn]
fn return_with_baggage(baggage: Baggage) -> Baggage {
    baggage
}
