//! Arguments are places with a type: they coerce and infer.

mod tasks {
    #[mp::process_fn]
    pub fn total(label: &str, numbers: Vec<u64>, scale: f32, path: std::path::PathBuf) -> u64 {
        let _ = (label, scale, path);
        numbers.iter().sum()
    }

    #[mp::process_fn]
    pub fn nothing() {}
}

use tasks::nothing;

fn start() -> mp::Result<u64> {
    mp::spawn!(nothing)?.join()?;
    let label = String::from("numbers");
    let process = mp::spawn!(
        tasks::total,
        &label,
        (1..4).collect(),
        0.5,
        "numbers.txt".into(),
    )?;
    Ok(process.join()?)
}

fn main() {
    let _ = start as fn() -> _;
}
