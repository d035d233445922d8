struct CountWords;

fn main() {
    let _ = mp::spawn!(CountWords, "some text");
}
