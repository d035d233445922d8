//! Any bytes in the place of a message: whatever is no value has to be an error. See `tests/README.md`.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| multiproc_tests::messages::decode(input));
