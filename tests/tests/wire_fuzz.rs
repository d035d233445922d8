//! Any bytes where a message is decoded, and real messages that were changed. `tests/fuzz` does the same for as long as one
//! likes; `PROPTEST_CASES` sets how many there are here.

use std::alloc::System;

use multiproc_tests::leaks::apart;
use multiproc_tests::messages;
use proptest::prelude::*;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static MEMORY: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Decodes a message, and checks that no more memory was taken for it, all in all, than its bytes may stand for.
fn decode(input: &[u8]) {
    // For names and texts of errors, and for each byte an element of the largest type, with what growing takes.
    let most = (64 << 10) + 1024 * input.len();
    let before = MEMORY.stats().bytes_allocated;
    messages::decode(input);
    let taken = MEMORY.stats().bytes_allocated - before;
    assert!(
        taken <= most,
        "{taken} bytes for a message of {}: {input:?}",
        input.len()
    );
}

fn check(inputs: impl Strategy<Value = Vec<u8>>) {
    // What is made once.
    messages::decode_real();
    proptest!(|(input in inputs)| decode(&input));
}

#[mp::test]
fn any_bytes_are_a_value_or_an_error() {
    apart(|| {
        let raw = (
            any::<u8>(),
            0..128_u8,
            prop::collection::vec(any::<u8>(), 0..200),
        );
        check(raw.prop_map(|(wanted, source, bytes)| [vec![wanted, source], bytes].concat()));
    });
}

#[mp::test]
fn changed_messages_are_a_value_or_an_error() {
    apart(|| {
        // As what they are, so that most of each is decoded.
        let types = messages::number_of_types() as u8;
        let changes = (0..types, prop::collection::vec(any::<u8>(), 0..12));
        check(changes.prop_map(|(kind, bytes)| [vec![kind, 128 + kind], bytes].concat()));
    });
}

#[mp::test]
fn messages_of_other_types_are_a_value_or_an_error() {
    apart(|| {
        let types = messages::number_of_types() as u8;
        messages::decode_real();
        for wanted in 0..types {
            for source in 0..types {
                decode(&[wanted, 128 + source]);
            }
        }
    });
}

#[mp::test]
fn counts_that_no_bytes_back_take_no_memory() {
    apart(|| {
        messages::decode_real();
        for wanted in 0..messages::number_of_types() as u8 {
            for before in 0..4 {
                for bits in 0..64 {
                    let mut input = vec![wanted, 0];
                    input.extend([1].repeat(before));
                    let mut count = u64::MAX >> bits;
                    while count >= 0x80 {
                        input.push(count as u8 | 0x80);
                        count >>= 7;
                    }
                    input.push(count as u8);
                    decode(&input);
                }
            }
        }
    });
}
