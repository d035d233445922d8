fn main() {
    let _ = mp::Atomic::new(1.5);
}
