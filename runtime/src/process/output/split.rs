//! Finding lines in what comes in pieces.

/// The longest line that is passed on in one piece.
pub(super) const LONGEST: usize = 64 << 10;

/// How a line ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// `\n`
    Line,
    /// `\r\n`
    ReturnAndLine,
    /// `\r`: the next line is drawn over it.
    Return,
    /// It is longer than [`LONGEST`]: the next line goes on with it.
    Cut,
    /// It has no end: nothing more was written.
    Last,
}

/// Takes what was written apart into lines.
#[derive(Debug)]
pub(super) struct Splitter {
    /// The beginning of a line.
    held: Vec<u8>,
    /// No line ends before here.
    looked_at: usize,
    /// A `\r` waits for what follows it, which may be the rest of a `\r\n`.
    joins_returns: bool,
}

impl Splitter {
    pub(super) fn new(joins_returns: bool) -> Self {
        Self {
            held: Vec::new(),
            looked_at: 0,
            joins_returns,
        }
    }

    /// Takes what was written, and gives the lines that are whole.
    pub(super) fn feed(&mut self, bytes: &[u8], mut give: impl FnMut(&[u8], End)) {
        self.held.extend_from_slice(bytes);
        let held = &self.held;
        let mut begin = 0;
        let mut from = self.looked_at;
        let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
        while let Some(found) = held[from..].iter().position(is_end) {
            let at = from + found;
            let (end, length) = match (held[at], held.get(at + 1)) {
                (b'\n', _) => (End::Line, 1),
                (_, Some(b'\n')) if self.joins_returns => (End::ReturnAndLine, 2),
                (_, None) if self.joins_returns => {
                    from = at;
                    break;
                }
                _ => (End::Return, 1),
            };
            let rest = cut(&held[begin..at], &mut give);
            give(rest, end);
            begin = at + length;
            from = begin;
        }
        let rest = cut(&held[begin..], &mut give);
        let left = rest.len();
        let was_searched = match held[from..].first() {
            Some(b'\r') => from,
            _ => held.len(),
        };
        let gone = held.len() - left;
        self.looked_at = was_searched.saturating_sub(gone);
        self.held.drain(..gone);
    }

    /// Gives the last line, if it has no end.
    pub(super) fn finish(&mut self, mut give: impl FnMut(&[u8], End)) {
        if !self.held.is_empty() {
            give(&self.held, End::Last);
        }
        self.held = Vec::new();
        self.looked_at = 0;
    }
}

/// Gives the front of a line that is too long, and returns the rest.
fn cut<'a>(mut line: &'a [u8], give: &mut impl FnMut(&[u8], End)) -> &'a [u8] {
    while line.len() > LONGEST {
        // Between two characters, if it is text.
        let is_boundary = |at: &usize| !matches!(line[*at], 0x80..=0xbf);
        let at = (LONGEST - 3..=LONGEST)
            .rev()
            .find(is_boundary)
            .unwrap_or(LONGEST);
        give(&line[..at], End::Cut);
        line = &line[at..];
    }
    line
}
