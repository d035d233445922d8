fn main() {
    let _ = mp::spawn!(count_words, "some text");
}
