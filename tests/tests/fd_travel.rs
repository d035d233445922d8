//! Descriptors in messages: what arrives, what is left, what happens to those that nobody takes.

mod common_shm;

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;

use common_shm::{LONG, kill, stats};
use mp::{Connection, Fd, Queue, Receiver, RecvError, Sender, TryGetError, TryPutError};
use multiproc_tests::leaks::alone;
use multiproc_tests::processes::{descriptors, is_readable};
use rustix::fd::OwnedFd;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One of each that has a descriptor, all waiting for a word.
#[derive(Serialize, Deserialize)]
struct Set {
    file: Fd<File>,
    tcp: Option<Fd<TcpStream>>,
    unix: Vec<Fd<UnixStream>>,
    connection: Connection<u32, u32>,
    ends: Ends,
}

#[derive(Serialize, Deserialize)]
enum Ends {
    Both { tx: Sender<u32>, rx: Receiver<u32> },
}

/// The other sides of a [`Set`].
struct Peers {
    file: File,
    tcp: TcpStream,
    unix: UnixStream,
    connection: Connection<u32, u32>,
    rx: Receiver<u32>,
    tx: Sender<u32>,
}

fn temporary_file() -> File {
    let memory: OwnedFd = memfd_create("file", MemfdFlags::CLOEXEC).expect("making memory");
    memory.into()
}

fn make() -> (Set, Peers) {
    let file = temporary_file();
    let listener = TcpListener::bind("127.0.0.1:0").expect("listening");
    let tcp = TcpStream::connect(listener.local_addr().expect("it has one")).expect("connecting");
    let (unix, unix_peer) = UnixStream::pair().expect("making a pair");
    let (connection, connection_peer) = mp::pipe().expect("making a pipe");
    let (tx, rx_peer) = mp::channel().expect("making a channel");
    let (tx_peer, rx) = mp::channel().expect("making a channel");
    tx_peer.send(1).expect("sending");
    let peers = Peers {
        file: file.try_clone().expect("duplicating"),
        tcp: listener.accept().expect("accepting").0,
        unix: unix_peer,
        connection: connection_peer,
        rx: rx_peer,
        tx: tx_peer,
    };
    let set = Set {
        file: file.into(),
        tcp: Some(Fd::new(tcp)),
        unix: vec![unix.into()],
        connection,
        ends: Ends::Both { tx, rx },
    };
    (set, peers)
}

impl Set {
    /// Writes to all.
    fn use_all(mut self) {
        self.file.write_all(b"file").expect("writing");
        let mut tcp = self.tcp.take().expect("there is one").into_inner();
        tcp.write_all(b"tcp").expect("writing");
        self.unix[0].write_all(b"unix").expect("writing");
        self.connection.send(1).expect("sending");
        let Ends::Both { tx, rx } = &self.ends;
        tx.send(rx.recv().expect("receiving") + 1).expect("sending");
    }
}

impl Peers {
    /// Checks that the set was used once, and that nobody has it any more.
    #[track_caller]
    fn was_used(mut self) {
        let mut text = String::new();
        assert_eq!(self.rx.recv(), Ok(2));
        assert_eq!(self.connection.recv(), Ok(1));
        self.file.rewind().expect("rewinding");
        self.file.read_to_string(&mut text).expect("reading");
        self.tcp.read_to_string(&mut text).expect("reading");
        self.unix.read_to_string(&mut text).expect("reading");
        assert_eq!(text, "filetcpunix");
        self.is_closed();
    }

    /// Checks that nobody has the set any more.
    #[track_caller]
    fn is_closed(&self) {
        assert_eq!(self.connection.recv(), Err(RecvError::Closed));
        assert_eq!(self.rx.recv(), Err(RecvError::Closed));
        // Who has sent it may not have dropped its own yet.
        assert!(is_readable(&self.tx, LONG), "its end can be read");
        assert!(self.tx.send(1).expect_err("nobody is there").is_closed());
        assert_eq!((&self.tcp).read(&mut [0]).expect("reading"), 0);
        assert_eq!((&self.unix).read(&mut [0]).expect("reading"), 0);
        assert_eq!(waiting(), 0);
    }
}

/// How many descriptors wait in messages.
fn waiting() -> u64 {
    mp::__private::waiting_descriptors().expect("counting")
}

#[mp::process_fn]
fn use_argument(set: Set) {
    set.use_all();
}

#[mp::process_fn]
fn give_back(set: Set) -> Result<Vec<Set>, String> {
    Ok(vec![set])
}

#[mp::process_fn]
fn use_from_queue(sets: Queue<Option<Set>>) {
    while let Ok(Some(set)) = sets.get() {
        set.use_all();
    }
}

#[mp::process_fn]
fn hand_on(from: Queue<Option<Set>>, to: Queue<Option<Set>>) {
    for set in &from {
        to.put(set).expect("putting");
    }
    to.shutdown().expect("shutting down");
}

#[mp::process_fn]
fn hand_over_pipe(peer: Connection<Set, Set>) {
    while let Ok(set) = peer.recv() {
        peer.send(set).expect("sending");
    }
}

#[mp::process_fn]
fn pass_down(set: Set, depth: u32) -> Option<Set> {
    if depth == 0 {
        return Some(set);
    }
    mp::spawn!(pass_down, set, depth - 1)
        .expect("spawning")
        .join()
        .expect("it ends")
}

#[mp::process_fn]
fn put_and_end(set: Set, sets: Queue<Set>) {
    sets.put(set).expect("putting");
}

#[mp::process_fn]
fn put_and_wait(set: Set, sets: Queue<Set>, ready: mp::Event) {
    sets.put(set).expect("putting");
    ready.set();
    loop {
        std::thread::park();
    }
}

#[mp::test]
fn as_arguments_and_return_values() {
    alone(|| {
        let (set, peers) = make();
        mp::spawn!(use_argument, set)
            .expect("spawning")
            .join()
            .expect("it ends");
        peers.was_used();
        let (set, peers) = make();
        let given = mp::spawn!(give_back, set).expect("spawning").join();
        let mut sets = given.expect("it ends").expect("it is fine");
        sets.remove(0).use_all();
        peers.was_used();
    });
}

#[mp::test]
fn through_queues_and_other_hands() {
    alone(|| {
        for make_queue in [Queue::new, || Queue::bounded(2)] {
            let queues: [Queue<Option<Set>>; 3] =
                std::array::from_fn(|_| make_queue().expect("making a queue"));
            let hands = [0, 1].map(|hand| {
                mp::spawn!(hand_on, queues[hand].clone(), queues[hand + 1].clone())
                    .expect("spawning")
            });
            let user = mp::spawn!(use_from_queue, queues[2].clone()).expect("spawning");
            let all_peers: Vec<Peers> = (0..10)
                .map(|_| {
                    let (set, peers) = make();
                    queues[0].put(Some(set)).expect("putting");
                    peers
                })
                .collect();
            queues[0].shutdown().expect("shutting down");
            user.join().expect("it ends");
            for hand in hands {
                hand.join().expect("it ends");
            }
            all_peers.into_iter().for_each(Peers::was_used);
        }
    });
}

#[mp::test]
fn over_connections() {
    alone(|| {
        let (mine, theirs) = mp::pipe().expect("making a pipe");
        let child = mp::spawn!(hand_over_pipe, theirs).expect("spawning");
        let (tx, rx) = mp::channel().expect("making a channel");
        for _ in 0..5 {
            let (set, peers) = make();
            mine.send(set).expect("sending");
            tx.send(mine.recv().expect("receiving")).expect("sending");
            let set: Set = rx.recv().expect("receiving");
            set.use_all();
            peers.was_used();
        }
        drop(mine);
        child.join().expect("it ends");
    });
}

#[mp::test]
fn to_great_grandchildren_and_back() {
    alone(|| {
        let (set, peers) = make();
        let set = mp::spawn!(pass_down, set, 3).expect("spawning").join();
        set.expect("it ends").expect("there is one").use_all();
        peers.was_used();
    });
}

#[mp::test]
fn they_outlive_who_put_them() {
    alone(|| {
        let sets = Queue::new().expect("making a queue");
        let (set, peers) = make();
        let child = mp::spawn!(put_and_end, set, sets.clone()).expect("spawning");
        child.join().expect("it ends");
        sets.get().expect("getting").use_all();
        peers.was_used();

        let (set, peers) = make();
        let ready = mp::Event::new().expect("making an event");
        let child = mp::spawn!(put_and_wait, set, sets.clone(), ready.clone()).expect("spawning");
        ready.wait().expect("waiting");
        kill(child);
        sets.get().expect("getting").use_all();
        peers.was_used();
    });
}

#[mp::test]
fn the_sender_keeps_its_own() {
    alone(|| {
        let queue = Queue::new().expect("making a queue");
        let mut file = Fd::new(temporary_file());
        queue.put_ref(&file).expect("putting");
        file.write_all(b"here ").expect("writing");
        let mut same = queue.get().expect("getting");
        same.write_all(b"and there").expect("writing");
        let mut text = String::new();
        file.rewind().expect("rewinding");
        same.read_to_string(&mut text).expect("reading");
        assert_eq!(text, "here and there");
    });
}

#[mp::test]
fn with_a_queue_go_its_descriptors() {
    alone(|| {
        let queue = Queue::new().expect("making a queue");
        let mut all_peers = Vec::new();
        for _ in 0..5 {
            let (set, peers) = make();
            queue.put(set).expect("putting");
            all_peers.push(peers);
        }
        // Others, which stay.
        let other = Queue::new().expect("making a queue");
        let (set, other_peers) = make();
        other.put(set).expect("putting");
        assert_eq!(waiting(), 6 * 6);
        queue.get().expect("getting").use_all();
        drop(queue);
        assert_eq!(waiting(), 6);
        let set = other.get().expect("getting");
        let used = all_peers.remove(0);
        used.was_used();
        all_peers.iter().for_each(Peers::is_closed);
        set.use_all();
        other_peers.was_used();
    });
}

/// Sent as an `A` and received as a `B`.
enum Changed<A, B> {
    Sent(A),
    Received(B),
}

impl<A: Serialize, B> Serialize for Changed<A, B> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Changed::Sent(sent) => sent.serialize(serializer),
            Changed::Received(_) => unreachable!("it is not sent again"),
        }
    }
}

impl<'de, A, B: Deserialize<'de>> Deserialize<'de> for Changed<A, B> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        B::deserialize(deserializer).map(Changed::Received)
    }
}

/// Why what is put as an `A` cannot be got as a `B`.
#[track_caller]
fn refusal<A: Serialize, B: DeserializeOwned>(sent: A) -> String {
    let queue = Queue::<Changed<A, B>>::new().expect("making a queue");
    queue.put_ref(&Changed::Sent(sent)).expect("putting");
    match queue.get() {
        Err(TryGetError::Decode(error)) => error.to_string(),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("it was decoded"),
    }
}

#[mp::test]
fn what_cannot_be_decoded_is_an_error_and_closed() {
    alone(|| {
        let (mut peer, passed) = UnixStream::pair().expect("making a pair");
        let error = refusal::<Fd<UnixStream>, Fd<File>>(passed.into());
        for words in ["UnixStream", "std::fs::File", "the same types"] {
            assert!(error.to_string().contains(words), "{words}: {error}");
        }
        assert_eq!(peer.read(&mut [0]).expect("reading"), 0);

        let (mut peer, passed) = UnixStream::pair().expect("making a pair");
        let item = (Fd::new(passed), 7_u8);
        let error = refusal::<_, (Fd<UnixStream>, u8, String)>(item);
        assert!(error.contains("an item of a queue"), "{error}");
        assert_eq!(peer.read(&mut [0]).expect("reading"), 0);

        for index in [0, 1, u32::MAX] {
            // With a descriptor, and without.
            let named = (index, std::any::type_name::<File>());
            let error = refusal::<_, Fd<File>>(named);
            assert!(error.contains("did not come with it"), "{error}");
        }
        let file = || Fd::new(temporary_file());
        let index_of_another = (1_u32, std::any::type_name::<File>());
        let error =
            refusal::<_, (Fd<File>, Fd<File>, Fd<File>)>((file(), index_of_another, (1_u32, "")));
        assert!(error.contains("did not come with it"), "{error}");
        assert_eq!(waiting(), 0);
    });
}

#[mp::test]
fn outside_of_messages_they_are_refused() {
    let file = Fd::new(temporary_file());
    let error = serde_json::to_string(&file).expect_err("it has no meaning");
    for words in ["std::fs::File", "tree of processes"] {
        assert!(error.to_string().contains(words), "{words}: {error}");
    }
    let error =
        serde_json::from_str::<Fd<File>>("[0,\"std::fs::File\"]").expect_err("nothing came");
    assert!(error.to_string().contains("did not come"), "{error}");
}

#[mp::process_fn]
fn count(
    files: Vec<Fd<File>>,
    from: Queue<Vec<Fd<File>>>,
    peer: Receiver<Vec<Fd<File>>>,
) -> Vec<Fd<File>> {
    let mut files = files;
    files.extend(from.get().expect("getting"));
    files.extend(peer.recv().expect("receiving"));
    files
}

/// Each is another file, so that their order shows.
fn numbered(number: u64) -> Vec<Fd<File>> {
    let files = (0..number).map(|number| {
        let file = temporary_file();
        file.set_len(number).expect("setting a length");
        Fd::new(file)
    });
    files.collect()
}

#[mp::test]
fn hundreds_in_one_message() {
    alone(|| {
        for number in [253, 254, 300, 506, 507] {
            let queue = Queue::new().expect("making a queue");
            let (tx, rx) = mp::channel().expect("making a channel");
            // Something of others is before and behind.
            let others = Queue::new().expect("making a queue");
            others.put(numbered(254)).expect("putting");
            queue.put(numbered(number)).expect("putting");
            others.put(numbered(1)).expect("putting");
            tx.send(numbered(number)).expect("sending");
            let child = mp::spawn!(count, numbered(number), queue, rx).expect("spawning");
            let all = child.join().expect("it ends");
            assert_eq!(all.len() as u64, 3 * number);
            for (index, file) in (0..).zip(&all) {
                let length = file.metadata().expect("looking").len();
                assert_eq!(length, index % number);
            }
            assert_eq!(waiting(), 255);
            assert_eq!(others.get().expect("getting").len(), 254);
            assert_eq!(others.get().expect("getting").len(), 1);
        }
    });
}

#[mp::test]
fn a_full_depot_is_an_error_until_somebody_receives() {
    alone(|| {
        let before = (stats(), descriptors());
        let queue = Queue::new().expect("making a queue");
        let file = Fd::new(temporary_file());
        for _ in 0..2 {
            let mut put = 0;
            let error = loop {
                match queue.put_ref(&file) {
                    Ok(()) => put += 1,
                    Err(error) => break error,
                }
            };
            assert!(put >= 100, "{put}");
            assert_eq!((waiting(), queue.len() as u64), (put, put));
            let TryPutError::Failed((), error) = error else {
                panic!("{error:?}")
            };
            for words in [&put.to_string(), "receive some of them"] {
                assert!(error.to_string().contains(words), "{words}: {error}");
            }
            // Which of the two limits is the first depends on the system.
            assert!(
                {
                    let text = error.to_string();
                    text.contains("(sysctl") || text.contains("(ulimit")
                },
                "{error}"
            );
            let at_limit = stats();
            assert!(queue.put_ref(&file).is_err());
            assert_eq!(stats(), at_limit);
            // The last ones first, as far as that can be told: what is before them has to be moved.
            let late = Queue::new().expect("making a queue");
            let message = queue.get().expect("getting");
            late.put(message).expect("there is room for one again");
            assert!(late.put_ref(&file).is_err());
            late.get().expect("getting");
            for _ in 1..put {
                queue.get().expect("getting");
            }
            assert!(queue.is_empty());
            queue.put_ref(&file).expect("there is room again");
            queue.get().expect("getting");
            assert_eq!(waiting(), 0);
        }
        drop((queue, file));
        assert_eq!((stats(), descriptors()), before);
    });
}

#[mp::process_fn]
fn leave_too_many(queue: Queue<Fd<File>>) -> Fd<File> {
    let file = Fd::new(temporary_file());
    while queue.put_ref(&file).is_ok() {}
    file
}

#[mp::test]
fn a_return_value_that_finds_no_room_is_an_error() {
    alone(|| {
        let queue = Queue::new().expect("making a queue");
        let child = mp::spawn!(leave_too_many, queue.clone()).expect("spawning");
        let error = child.join().expect_err("there is no room");
        assert!(
            matches!(error, mp::ProcessError::Encode { .. }),
            "{error:?}"
        );
        for words in ["leave_too_many", "descriptors wait"] {
            assert!(error.to_string().contains(words), "{words}: {error}");
        }
    });
}

#[mp::process_fn]
fn get_with_few(queue: Queue<Vec<Fd<File>>>) -> (String, usize) {
    let limit = Rlimit {
        current: Some(100),
        maximum: getrlimit(Resource::Nofile).maximum,
    };
    setrlimit(Resource::Nofile, limit).expect("setting a limit");
    let error = queue.get().expect_err("too many descriptors").to_string();
    let few = queue.get().expect("getting").len();
    (error, few)
}

#[mp::test]
fn more_than_a_process_may_open_is_an_error_and_closed() {
    alone(|| {
        let queue = Queue::new().expect("making a queue");
        let (mut peer, passed) = UnixStream::pair().expect("making a pair");
        let streams = Queue::new().expect("making a queue");
        streams.put(Fd::new(passed)).expect("putting");
        queue.put(numbered(200)).expect("putting");
        queue.put(numbered(50)).expect("putting");
        let child = mp::spawn!(get_with_few, queue).expect("spawning");
        let (error, few) = child.join().expect("it ends");
        assert!(error.contains("ulimit -n"), "{error}");
        assert_eq!((few, waiting()), (50, 1));
        drop(streams);
        assert_eq!(peer.read(&mut [0]).expect("reading"), 0);
    });
}
