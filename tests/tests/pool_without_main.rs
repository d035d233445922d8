//! Pools of processes in a program that has neither `#[mp::main]` nor `#[mp::test]`. Alone in its binary: any `#[mp::test]` would do
//! for all of it.

use mp::Pool;

#[test]
fn pools_of_processes_need_a_main() {
    let error = Pool::new(2).expect_err("nobody called mp::init");
    assert!(matches!(error, mp::Error::NotInitialized), "{error:?}");
}
