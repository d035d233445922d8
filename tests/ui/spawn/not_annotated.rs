fn count_words(text: &str) -> usize {
    text.split(' ').count()
}

fn main() {
    let _ = mp::spawn!(count_words, "some text");
}
