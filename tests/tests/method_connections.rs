//! Connections between children of each method: the end is told when nobody has the other side any more, and nobody has a side
//! who was not given it.

use std::time::Duration;

use mp::{Connection, Event, Process, Receiver, RecvError, Sender, StartMethod};
use multiproc_tests::methods;
use multiproc_tests::methods::{available, by, named, pairs, start, value};
use multiproc_tests::processes::descriptors;
use multiproc_tests::watchdog::LIMIT;

methods! {
    a_child_talks_with_its_parent,
    the_end_is_told_however_the_child_ends,
    the_end_is_told_to_a_child_when_its_parent_drops_its_side,
    ends_that_are_passed_are_in_no_other_child,
    ends_that_the_parent_keeps_are_in_no_child,
    ends_are_passed_to_children_that_run,
    large_messages_cross_in_both_directions,
    the_end_is_told_when_a_start_fails,
    a_child_has_no_more_descriptors_than_it_needs,
    connections_are_waited_for_with_processes,
    ; once:
    siblings_of_each_pair_of_methods_talk,
    the_end_is_told_between_siblings_of_each_pair_of_methods,
    the_end_is_told_with_children_of_all_methods_around,
    grandchildren_of_each_pair_of_methods_talk_with_their_grandparent,
    ends_that_a_child_keeps_are_in_no_grandchild,
}

type Talk = Connection<u64, u64>;

fn pipe() -> (Talk, Talk) {
    mp::pipe().unwrap()
}

/// Answers with the double until nobody asks any more.
#[mp::process_fn]
fn double(peer: Talk) -> u64 {
    let mut answers = 0;
    loop {
        match peer.recv() {
            Ok(number) => peer.send(2 * number).unwrap(),
            Err(error) => {
                assert!(error.is_closed(), "{error}");
                return answers;
            }
        }
        answers += 1;
    }
}

/// Asks for some doubles.
#[mp::process_fn]
fn ask(peer: Talk, times: u64) {
    for number in 0..times {
        peer.send(number).unwrap();
        assert_eq!(peer.recv().unwrap(), 2 * number);
    }
}

/// Checks that nobody has the other side any more.
#[track_caller]
fn is_closed<S, R>(mine: &Connection<S, R>)
where
    S: serde::Serialize,
    R: serde::de::DeserializeOwned + std::fmt::Debug,
{
    // A side that leaks is open for as long as whoever has it, so that there is nothing to wait for.
    let error = mine.recv_timeout(LIMIT / 2).unwrap_err();
    assert!(matches!(error, RecvError::Closed), "{error:?}");
}

/// A child that holds what it was given, and whatever else it has.
fn bystander(method: StartMethod) -> (Process<()>, Event) {
    let (begun, end) = (Event::new().unwrap(), Event::new().unwrap());
    let process = start::<stand_by>(method, (begun.clone(), end.clone()));
    begun.wait().unwrap();
    (process, end)
}

#[mp::process_fn]
fn stand_by(begun: Event, end: Event) {
    begun.set();
    end.wait().unwrap();
}

fn leave((process, end): (Process<()>, Event)) {
    end.set();
    process.join().unwrap();
}

fn a_child_talks_with_its_parent(method: StartMethod) {
    let (mine, its) = pipe();
    let process = start::<double>(method, its);
    ask(mine, 100);
    assert_eq!(process.join().unwrap(), 100);
}

#[mp::process_fn]
fn end_with(peer: Talk, how: u8) {
    peer.send(1).unwrap();
    match how {
        0 => {}
        1 => std::process::exit(3),
        2 => panic!("with a connection"),
        3 => std::process::abort(),
        _ => loop {
            std::thread::park();
        },
    }
}

fn the_end_is_told_however_the_child_ends(method: StartMethod) {
    for how in 0..5 {
        let around: Vec<_> = available().into_iter().map(bystander).collect();
        let (mine, its) = pipe();
        let builder = by(method).stderr(mp::Stdio::null());
        let process = builder.spawn::<end_with>((its, how)).unwrap();
        let later: Vec<_> = available().into_iter().map(bystander).collect();
        assert_eq!(mine.recv().unwrap(), 1);
        if how == 4 {
            process.kill().unwrap();
        }
        is_closed(&mine);
        assert!(mine.send(1).unwrap_err().is_closed());
        process.wait();
        around.into_iter().chain(later).for_each(leave);
        drop(process);
    }
}

fn the_end_is_told_to_a_child_when_its_parent_drops_its_side(method: StartMethod) {
    let (mine, its) = pipe();
    let process = start::<double>(method, its);
    // Started while this process has its side, which they must not have.
    let later: Vec<_> = available().into_iter().map(bystander).collect();
    mine.send(1).unwrap();
    assert_eq!(mine.recv().unwrap(), 2);
    drop(mine);
    assert_eq!(process.join().unwrap(), 1);
    later.into_iter().for_each(leave);
}

fn ends_that_are_passed_are_in_no_other_child(method: StartMethod) {
    let pipes: Vec<_> = (0..4).map(|_| pipe()).collect();
    let (mine, its): (Vec<_>, Vec<_>) = pipes.into_iter().unzip();
    // Each is started while this process has the sides of those after it.
    let processes: Vec<_> = its
        .into_iter()
        .map(|its| start::<double>(method, its))
        .collect();
    for (mine, process) in mine.into_iter().zip(processes) {
        ask(mine, 3);
        assert_eq!(process.join().unwrap(), 3);
    }
}

fn ends_that_the_parent_keeps_are_in_no_child(method: StartMethod) {
    let (first, second) = pipe();
    let (tx, rx) = mp::channel::<u8>().unwrap();
    let child = bystander(method);
    drop(second);
    is_closed(&first);
    drop(tx);
    assert_eq!(rx.recv_timeout(LIMIT / 2), Err(RecvError::Closed));
    let (tx, rx) = mp::channel::<u8>().unwrap();
    let other = bystander(method);
    drop(rx);
    assert!(tx.send(1).unwrap_err().is_closed());
    leave(child);
    leave(other);
}

/// Serves connections that come over a connection.
#[mp::process_fn]
fn serve(connections: Receiver<Talk>) -> u64 {
    let mut served = 0;
    while let Ok(connection) = connections.recv() {
        served += double(connection);
    }
    served
}

fn ends_are_passed_to_children_that_run(method: StartMethod) {
    let (tx, rx) = mp::channel().unwrap();
    let server = start::<serve>(method, rx);
    for second in available() {
        let (ours, its) = pipe();
        let asker = start::<ask>(second, (ours, 5));
        tx.send(its).unwrap();
        asker.join().unwrap();
    }
    drop(tx);
    assert_eq!(server.join().unwrap(), 5 * available().len() as u64);
}

#[mp::process_fn]
fn echo_bytes(peer: Connection<Vec<u8>, Vec<u8>>) {
    while let Ok(bytes) = peer.recv() {
        peer.send(bytes).unwrap();
    }
}

fn large_messages_cross_in_both_directions(method: StartMethod) {
    let (mine, its) = mp::pipe::<Vec<u8>, Vec<u8>>().unwrap();
    let process = start::<echo_bytes>(method, its);
    for size in [0, 1, 5000, 70_000, 1 << 20, 10_000_000] {
        let bytes: Vec<u8> = (0..size).map(|index| (index * 7) as u8).collect();
        mine.send(bytes.clone()).unwrap();
        assert!(mine.recv().unwrap() == bytes, "{size}");
    }
    drop(mine);
    process.join().unwrap();
}

fn the_end_is_told_when_a_start_fails(method: StartMethod) {
    let around: Vec<_> = available().into_iter().map(bystander).collect();
    let fail: [fn(mp::Builder) -> mp::Builder; 2] = [
        |builder| builder.current_dir("/no/such/directory"),
        |builder| builder.env("A=B", "1"),
    ];
    for fail in fail {
        let (mine, its) = pipe();
        fail(by(method)).spawn::<double>(its).unwrap_err();
        is_closed(&mine);
    }
    around.into_iter().for_each(leave);
}

#[mp::process_fn]
fn list(_given: Vec<Talk>) -> Vec<String> {
    descriptors()
}

/// What is open but for standard streams, shared memory, processes and sockets.
fn others(listed: &[String]) -> Vec<&str> {
    let targets = listed.iter().filter_map(|line| line.split_once(" -> "));
    let is_other = |(number, target): &(&str, &str)| {
        !["0", "1", "2"].contains(number)
            && !["memfd:multiproc", "socket:", "pidfd"]
                .iter()
                .any(|kind| target.contains(kind))
    };
    targets.filter(is_other).map(|(_, target)| target).collect()
}

/// Checks that a child has standard streams, its tree's memory and depot, its parent, and `more` sockets more. A copy has what
/// its parent has, too.
#[track_caller]
fn check_list(method: StartMethod, listed: &[String], more: usize, above: &[String]) {
    if method == StartMethod::Fork {
        assert_eq!(others(listed), others(above), "{listed:#?}");
        return;
    }
    let count = |kind| listed.iter().filter(|line| line.contains(kind)).count();
    assert!(others(listed).is_empty(), "{listed:#?}");
    assert_eq!(count("memfd:multiproc"), 1, "{listed:#?}");
    assert_eq!(count("socket:"), 2 + more, "{listed:#?}");
    assert_eq!(count("pidfd"), 1, "{listed:#?}");
    assert_eq!(listed.len(), 3 + 1 + 2 + more + 1, "{listed:#?}");
}

fn a_child_has_no_more_descriptors_than_it_needs(method: StartMethod) {
    let around: Vec<_> = available().into_iter().map(bystander).collect();
    let kept: Vec<_> = (0..3).map(|_| pipe()).collect();
    for number in [0, 1, 20] {
        let pipes: Vec<_> = (0..number).map(|_| pipe()).collect();
        let (mine, its): (Vec<_>, Vec<_>) = pipes.into_iter().unzip();
        let listed = value::<list>(method, its);
        check_list(method, &listed, number, &descriptors());
        mine.iter().for_each(is_closed);
    }
    drop(kept);
    around.into_iter().for_each(leave);
    for first in available() {
        let (listed, above) = value::<list_below>(first, method.name());
        check_list(method, &listed, 0, &above);
    }
}

/// What a child that is started by a method has, and this process.
#[mp::process_fn]
fn list_below(method: &str) -> (Vec<String>, Vec<String>) {
    let _mine = pipe();
    (value::<list>(named(method), Vec::new()), descriptors())
}

fn connections_are_waited_for_with_processes(method: StartMethod) {
    let (mine, its) = pipe();
    let process = start::<double>(method, its);
    assert!(
        mp::wait(&[&mine, &process], Some(Duration::ZERO))
            .unwrap()
            .is_empty()
    );
    mine.send(4).unwrap();
    assert_eq!(mp::wait(&[&mine, &process], None).unwrap(), [0]);
    assert_eq!(mine.recv().unwrap(), 8);
    process.kill().unwrap();
    assert_eq!(mp::wait(&[&process], None).unwrap(), [0]);
    assert_eq!(
        mp::wait(&[&process, &mine], None).unwrap(),
        [0, 1],
        "the end can be received"
    );
    is_closed(&mine);
    process.join().unwrap_err();
}

fn siblings_of_each_pair_of_methods_talk() {
    for [first, second] in pairs() {
        let (ours, its) = pipe();
        let answers = start::<double>(first, its);
        let asks = start::<ask>(second, (ours, 100));
        asks.join().unwrap();
        assert_eq!(answers.join().unwrap(), 100, "{first}, {second}");
    }
}

/// Tells what it sees on a connection, and when it ends.
#[mp::process_fn]
fn watch(peer: Talk, seen: Sender<String>) {
    seen.send(format!("{:?}", peer.recv())).unwrap();
    seen.send(format!("{:?}", peer.recv())).unwrap();
}

fn the_end_is_told_between_siblings_of_each_pair_of_methods() {
    for [first, second] in pairs() {
        let (a, b) = pipe();
        let (tx, rx) = mp::channel().unwrap();
        let watches = start::<watch>(first, (a, tx));
        let ends = start::<end_with>(second, (b, 4));
        assert_eq!(rx.recv().unwrap(), "Ok(1)", "{first}, {second}");
        assert!(
            !rx.poll(Duration::from_millis(20)).unwrap(),
            "it is not closed yet"
        );
        ends.kill().unwrap();
        let seen = rx.recv_timeout(LIMIT / 2).expect("the end is told");
        assert_eq!(seen, "Err(Closed)", "{first}, {second}");
        watches.join().unwrap();
        ends.join().unwrap_err();
    }
}

/// What one has is in nobody else, in whichever order they are started.
fn the_end_is_told_with_children_of_all_methods_around() {
    let methods = || available().into_iter().cycle().take(6);
    let mut running = Vec::new();
    for method in methods() {
        let (mine, its) = pipe();
        running.push((mine, start::<end_with>(method, (its, 4))));
    }
    for (number, (mine, process)) in running.into_iter().enumerate() {
        assert_eq!(mine.recv().unwrap(), 1);
        process.kill().unwrap();
        is_closed(&mine);
        process.join().unwrap_err();
        assert_eq!(mp::active_children().len(), 5 - number);
    }
}

#[mp::process_fn]
fn double_below(peer: Talk, method: &str) -> u64 {
    value::<double>(named(method), peer)
}

fn grandchildren_of_each_pair_of_methods_talk_with_their_grandparent() {
    for [first, second] in pairs() {
        let (mine, its) = pipe();
        let process = start::<double_below>(first, (its, second.name()));
        ask(mine, 10);
        assert_eq!(process.join().unwrap(), 10, "{first}, {second}");
    }
}

/// Has a side while it starts a child, and drops it when that runs.
#[mp::process_fn]
fn keep_above(peer: Talk, method: &str, begun: Event, end: Event) {
    let process = start::<stand_by>(named(method), (begun.clone(), end));
    begun.wait().unwrap();
    drop(peer);
    process.join().unwrap();
}

fn ends_that_a_child_keeps_are_in_no_grandchild() {
    for [first, second] in pairs() {
        let (mine, its) = pipe();
        let (begun, end) = (Event::new().unwrap(), Event::new().unwrap());
        let process = start::<keep_above>(first, (its, second.name(), begun, end.clone()));
        is_closed(&mine);
        end.set();
        process.join().unwrap();
    }
}
