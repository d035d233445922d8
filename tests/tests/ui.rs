//! Misuse of the macros: each mistake is a compile error on the right token that says what to do instead.
//!
//! One mistake a file. `TRYBUILD=overwrite cargo test --test ui` writes the expected messages anew.

#[test]
fn misuse_is_explained() {
    let tests = trybuild::TestCases::new();
    tests.pass("ui/pass/*.rs");
    for area in ["process_fn", "main", "test", "spawn", "shared"] {
        tests.compile_fail(format!("ui/{area}/*.rs"));
    }
}
