fn main() {
    let _ = mp::spawn!();
}
