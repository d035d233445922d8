fn main() {
    let _ = mp::Array::from_slice(&["text", "more"]);
}
