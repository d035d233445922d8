fn main() {
    let _ = mp::spawn!(|| 3);
    let _ = mp::spawn!(move || 3);
}
