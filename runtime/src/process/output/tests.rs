use super::sink::{Batch, Form};
use super::split::{End, LONGEST, Splitter};
use super::tail::{KEPT, Tail};

/// What comes of these writes, each of which is read for itself.
fn split(writes: &[&[u8]], joins_returns: bool) -> Vec<(Vec<u8>, End)> {
    let mut splitter = Splitter::new(joins_returns);
    let mut lines = Vec::new();
    let mut give = |line: &[u8], end| lines.push((line.to_vec(), end));
    for write in writes {
        splitter.feed(write, &mut give);
    }
    splitter.finish(&mut give);
    lines
}

fn expected(lines: &[(&str, End)]) -> Vec<(Vec<u8>, End)> {
    let own = |(line, end): &(&str, End)| (line.as_bytes().to_vec(), *end);
    lines.iter().map(own).collect()
}

#[test]
fn lines_are_the_same_wherever_reads_part_them() {
    let text = b"one\n\ntwo\r\nbar 1\rbar 2\r\r\nrest\r\n\xff\x00 bytes\nlast";
    let whole = [
        ("one", End::Line),
        ("", End::Line),
        ("two", End::ReturnAndLine),
        ("bar 1", End::Return),
        ("bar 2", End::Return),
        ("", End::ReturnAndLine),
        ("rest", End::ReturnAndLine),
    ];
    let mut whole = expected(&whole);
    whole.push((b"\xff\x00 bytes".to_vec(), End::Line));
    whole.push((b"last".to_vec(), End::Last));
    for first in 0..=text.len() {
        for second in first..=text.len() {
            let writes = [&text[..first], &text[first..second], &text[second..]];
            assert_eq!(split(&writes, true), whole, "{first} {second}");
        }
    }
}

#[test]
fn a_return_waits_for_what_follows_only_where_it_matters() {
    let writes: [&[u8]; 2] = [b"a\r", b"\nb"];
    let joined = [("a", End::ReturnAndLine), ("b", End::Last)];
    assert_eq!(split(&writes, true), expected(&joined));
    let apart = [("a", End::Return), ("", End::Line), ("b", End::Last)];
    assert_eq!(split(&writes, false), expected(&apart));
    assert_eq!(split(&[b"a\r"], true), expected(&[("a\r", End::Last)]));
}

#[test]
fn long_lines_come_in_pieces() {
    let line = "x".repeat(2 * LONGEST);
    let (piece, _) = line.split_at(LONGEST);
    for length in [1, 1000, LONGEST - 1, LONGEST, LONGEST + 1, 2 * LONGEST] {
        let writes: Vec<_> = line
            .as_bytes()
            .chunks(length)
            .chain([&b"\nb"[..]])
            .collect();
        let whole = [(piece, End::Cut), (piece, End::Line), ("b", End::Last)];
        assert_eq!(split(&writes, true), expected(&whole), "{length}");
    }
    assert_eq!(
        split(&[piece.as_bytes(), b"\n"], true),
        expected(&[(piece, End::Line)])
    );
}

#[test]
fn pieces_part_text_between_characters() {
    for shift in 0..4 {
        let line = "y".repeat(shift) + &"🦀".repeat(LONGEST / 2);
        let pieces = split(&[line.as_bytes()], true);
        assert!(pieces.len() >= 2);
        for (piece, _) in &pieces {
            assert!(str::from_utf8(piece).is_ok() && piece.len() <= LONGEST);
        }
        let joined: Vec<u8> = pieces.into_iter().flat_map(|(piece, _)| piece).collect();
        assert_eq!(joined, line.as_bytes());
    }
    let bytes = vec![0x80; LONGEST + 1];
    assert_eq!(split(&[&bytes], true)[0].0.len(), LONGEST);
}

/// What is written of this text in a form.
fn written(form: &Form, joins_returns: bool, text: &[u8]) -> Vec<u8> {
    let mut batch = Batch::default();
    for (line, end) in split(&[text], joins_returns) {
        batch.push(form, &line, end);
    }
    batch.into_bytes()
}

#[test]
fn plain_output_is_unchanged() {
    let long = "x".repeat(LONGEST + 5);
    for text in ["a\nb\r\nc\rd", "\r10 %\r20 %\r", "\n\n", &long] {
        assert_eq!(
            written(&Form::Plain, false, text.as_bytes()),
            text.as_bytes()
        );
    }
}

#[test]
fn tagged_output_has_a_tag_for_each_line() {
    let tagged = Form::Tagged("[P] ".to_owned());
    for (text, expected) in [
        ("a\nb", "[P] a\n[P] b\n"),
        ("a\r\n\n", "[P] a\r\n[P] \n"),
        ("\r10 %\r20 %\r", "[P] 10 %\r[P] 20 %\n"),
        ("10 %\r20 %\ndone", "[P] 10 %\r[P] 20 %\n[P] done\n"),
        ("", ""),
    ] {
        let written = written(&tagged, true, text.as_bytes());
        assert_eq!(String::from_utf8_lossy(&written), expected);
    }
}

#[test]
fn a_tail_keeps_the_last_lines() {
    let tail = Tail::default();
    assert_eq!(tail.last_lines(), "");
    tail.push(b"a\nb");
    assert_eq!(tail.last_lines(), "a\nb");
    for n in 0..10_000 {
        tail.push(format!("{n}\n").as_bytes());
    }
    let lines = tail.last_lines();
    assert!(lines.len() <= KEPT && lines.len() > KEPT - 10, "{lines}");
    assert!(lines.starts_with(|c: char| c.is_ascii_digit()) && lines.ends_with("\n9999\n"));
    tail.push(&[b'x'; 3 * KEPT]);
    assert_eq!(tail.last_lines(), "x".repeat(KEPT));
}
