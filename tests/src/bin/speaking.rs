//! A program that captures what its children print: `speaking SCENE`. The start method is that in `METHOD`.

use std::io::{self, Read, Write};
use std::process::Command;
use std::time::Duration;
use std::{env, process};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use mp::{Builder, Pool, StartMethod};

/// How many children take turns, and how often.
const CHILDREN: usize = 8;
const TURNS: usize = 50;

/// Writes half lines, while all others are in the middle of a line, too.
#[mp::process_fn]
fn take_turns(who: usize, turn: mp::Barrier) {
    let (mut stdout, mut stderr) = (io::stdout(), io::stderr());
    for n in 0..TURNS {
        write!(stdout, "{who} begins {n}, ").unwrap();
        stdout.flush().unwrap();
        write!(stderr, "{who} warns {n}, ").unwrap();
        turn.wait().unwrap();
        writeln!(stdout, "{who} ends {n}").unwrap();
        writeln!(stderr, "{who} warned {n}").unwrap();
        turn.wait().unwrap();
    }
}

fn turns() -> mp::Result<()> {
    let turn = mp::Barrier::new(CHILDREN + 1)?;
    let children = (0..CHILDREN).map(|who| {
        let child = Builder::new().name(format!("child {who}")).capture_output();
        child.spawn::<take_turns>((who, turn.clone()))
    });
    let children = children.collect::<Result<Vec<_>, _>>()?;
    for n in 0..TURNS {
        println!("mine {n}");
        turn.wait().unwrap();
        eprintln!("mine {n}");
        turn.wait().unwrap();
    }
    for child in children {
        child.join()?;
        println!("joined");
    }
    Ok(())
}

/// Prints many lines, and one that has no end.
#[mp::process_fn]
fn chatter(lines: usize) {
    for n in 0..lines {
        println!("line {n}");
        eprintln!("warning {n}");
    }
    print!("the end");
    eprint!("the last warning");
}

/// Does so, and then nothing until it is killed.
#[mp::process_fn]
fn chatter_for_ever(lines: usize, ready: mp::Event) {
    chatter(lines);
    io::stdout().flush().unwrap();
    ready.set();
    loop {
        std::thread::park();
    }
}

/// Writes to the standard output.
#[mp::process_fn]
fn write_bytes(bytes: Vec<u8>) {
    io::stdout().write_all(&bytes).unwrap();
}

#[mp::process_fn]
fn wait(event: mp::Event) {
    event.wait().unwrap();
}

/// Prints when its parent has ended, until that is an error.
#[mp::process_fn]
fn print_for_ever() {
    println!("all is well");
    let parent = mp::parent_process().expect("it is a child");
    assert!(parent.wait_timeout(Duration::MAX));
    while writeln!(io::stdout(), "and on").is_ok() {}
}

#[mp::process_fn]
fn warn(text: &str) {
    eprintln!("{text}");
}

/// Lets a shell write, as another program would.
#[mp::process_fn]
fn run(script: &str) {
    assert!(
        Command::new("sh")
            .args(["-c", script])
            .status()
            .unwrap()
            .success()
    );
}

/// Children and a pool whose output nobody reads at first.
fn unread() -> mp::Result<()> {
    // More than all pipes hold.
    let flood = Builder::new().name("flood").capture_output();
    let flood = flood.spawn::<chatter>(50_000)?;
    let takes_more = || {
        let stdout = io::stdout();
        let mut polled = [PollFd::new(&stdout, PollFlags::OUT)];
        poll(&mut polled, Some(&Timespec::default())).expect("polling") > 0
    };
    while takes_more() {
        std::thread::yield_now();
    }
    // What it has written is in no pipe any more when it ends.
    for number in 0..3 {
        let child = Builder::new()
            .name(format!("quick {number}"))
            .capture_output();
        child.spawn::<chatter>(100)?.join()?;
    }
    let uncaptured = Builder::new().stdout(mp::Stdio::null());
    uncaptured
        .spawn::<write_bytes>(vec![b'x'; 1 << 20])?
        .join()?;
    let (sender, lines) = std::sync::mpsc::channel();
    let heard = Builder::new().on_output(move |line| drop(sender.send(line.to_string())));
    let heard = heard.name("heard").spawn::<chatter>(1000)?;
    assert_eq!(lines.into_iter().count(), 2 * 1000 + 2);
    heard.join()?;
    let pool = Pool::builder().workers(2).build()?;
    pool.map::<warn>(["a worker warns"; 3])?;
    drop(pool);
    assert!(flood.is_alive());
    eprintln!("waiting for a reader");
    // The end of this program waits for the flood.
    Ok(())
}

/// One child after the other, which leave no thread and no descriptor behind.
fn many(children: usize) -> mp::Result<()> {
    let warm_up = Builder::new()
        .stdout(mp::Stdio::null())
        .stderr(mp::Stdio::null());
    warm_up.spawn::<chatter>(0)?.join()?;
    let count = || {
        let [threads, descriptors] = ["task", "fd"].map(|folder| {
            let entries = std::fs::read_dir(format!("/proc/self/{folder}"));
            entries.expect("listing").count()
        });
        (threads, descriptors)
    };
    let before = count();
    for n in 0..children {
        let child = Builder::new().name(format!("Process-{}", n + 1));
        let child = child.capture_output().spawn::<chatter>(1)?;
        match n % 3 {
            0 => child.join()?,
            1 => drop(child.wait()),
            // Who forks has to wait until the thread has ended.
            _ if mp::start_method() == StartMethod::Fork => child.join()?,
            _ => {
                // Its end is seen by the thread, which ends then.
                while child.exit_status().is_none() {
                    std::thread::yield_now();
                }
            }
        }
    }
    // A thread that is joined may be there for a moment still.
    while count() != before {
        std::thread::yield_now();
    }
    println!("nothing is left");
    Ok(())
}

#[mp::main]
fn main() -> mp::Result<()> {
    if let Ok(name) = env::var("METHOD") {
        let methods = StartMethod::available().iter();
        let method = methods.copied().find(|method| method.name() == name);
        mp::set_start_method(method.expect("a start method"))?;
    }
    match &*env::args().nth(1).expect("a scene") {
        "turns" => turns()?,
        "many" => many(
            env::args()
                .nth(2)
                .map_or(0, |number| number.parse().expect("a number")),
        )?,
        "return" => drop(Builder::new().capture_output().spawn::<chatter>(1000)?),
        "exit" => {
            let _child = Builder::new().capture_output().spawn::<chatter>(1000)?;
            process::exit(7);
        }
        "panic" => {
            let _child = Builder::new().capture_output().spawn::<chatter>(1000)?;
            panic!("on purpose");
        }
        "daemon" => {
            let ready = mp::Event::new()?;
            let daemon = Builder::new().daemon(true).capture_output();
            drop(daemon.spawn::<chatter_for_ever>((1000, ready.clone()))?);
            ready.wait()?;
        }
        "pool" => {
            let pool = Pool::builder().workers(1).capture_output().build()?;
            pool.apply::<chatter>(1000)?;
            pool.close();
            pool.join()?;
        }
        "slow" => {
            // The function is behind when the child has ended, and this program ends at once.
            let slow = Builder::new().on_output(|line| {
                std::thread::yield_now();
                println!("heard {line}");
            });
            let slow = slow.spawn::<chatter>(1000)?;
            while slow.exit_status().is_none() {
                std::thread::yield_now();
            }
        }
        "bytes" => {
            let mut bytes = Vec::new();
            io::stdin().read_to_end(&mut bytes)?;
            let child = Builder::new().capture_output();
            child.spawn::<write_bytes>(bytes)?.join()?;
        }
        "unread" => unread()?,
        "script" => {
            let script = env::args().nth(2).expect("a script");
            Builder::new()
                .capture_output()
                .spawn::<run>(&script)?
                .join()?;
            println!("joined");
        }
        "fork twice" => {
            let release = mp::Event::new()?;
            let first = Builder::new().capture_output();
            let first = first.spawn::<wait>(release.clone())?;
            let second = Builder::new().capture_output().spawn::<chatter>(0);
            println!(
                "{}",
                second
                    .err()
                    .map_or_else(String::new, |error| error.to_string())
            );
            release.set();
            first.join()?;
            Builder::new()
                .capture_output()
                .spawn::<chatter>(0)?
                .join()?;
        }
        "orphan" => {
            let _orphan = Builder::new()
                .capture_output()
                .spawn::<print_for_ever>(())?;
            loop {
                std::thread::park();
            }
        }
        scene => panic!("what is {scene}?"),
    }
    Ok(())
}
