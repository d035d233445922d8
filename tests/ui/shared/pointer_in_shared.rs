fn main() {
    let _ = mp::Shared::new(vec![1, 2, 3]);
}
