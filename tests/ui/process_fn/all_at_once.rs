#[mp::process_fn]
unsafe fn work<T>(_: &mut [T], _: impl ToString) -> &str {
    ""
}

fn main() {}
