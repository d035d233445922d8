#[mp::process_fn]
fn count_words(text: &str, min_len: usize) -> usize {
    text.split(" ").filter(|word| word.len() >= min_len).count()
}

fn main() {
    let _ = mp::spawn!(count_words, "some text", 3, 4);
}
