//! Rules of the repository that are executable: layers, places of platform code and of `unsafe`, sizes, leftovers.
//!
//! A rule is a function over a file's path and text that returns its complaints: where, which rule, and the cure.
//! The first tests hold every `.rs` file of the workspace to the rules, the last module shows that each rule can fail.

use std::fs;
use std::path::Path;

/// The modules of `runtime/src`, from the ground up: a module imports only from its own floor and those below.
const FLOORS: [&[&str]; 7] = [
    &["sys", "error", "kill_point"],
    &["arena"],
    &["sync", "shared", "reactor"],
    &["wire", "channel", "queue", "wait"],
    &["registry", "process"],
    &["pool"],
    &["manager", "net"],
];

/// The files above all floors: what users see, and what macros expand to.
const ROOF: [&str; 2] = ["runtime/src/lib.rs", "runtime/src/private.rs"];

/// The places that need `unsafe`. A new one is an entry here, which its review has to accept.
const UNSAFE_PLACES: [&str; 14] = [
    "benches/",
    "examples/crashing_c.rs",
    "runtime/src/sys/",
    "runtime/src/arena/",
    "runtime/src/sync/",
    "runtime/src/shared/",
    "runtime/src/queue/",
    "runtime/src/channel/",
    "runtime/src/wire/codec/",
    "runtime/src/process/",
    "runtime/src/pool/",
    "tests/models/src/pool/memory.rs",
    "tests/src/clib.rs",
    "tests/tests/isolated.rs",
];

/// What stands for work left undone; in pieces, so that this file does not contain it.
const LEFTOVERS: [&str; 6] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("X", "XX"),
    concat!("to", "do!"),
    concat!("unimpl", "emented!"),
    concat!("db", "g!"),
];

#[test]
fn modules_import_only_from_their_floor_and_below() {
    check(layers);
}

#[test]
fn platforms_are_told_apart_only_in_sys() {
    check(platforms);
}

#[test]
fn files_are_short() {
    check(length);
}

#[test]
fn nothing_is_left_undone() {
    check(leftovers);
}

#[test]
fn unsafe_code_is_where_it_is_expected_and_says_why() {
    check(unsafe_places);
}

#[test]
fn ignored_tests_say_why() {
    check(ignored);
}

fn layers(path: &str, text: &str) -> Vec<String> {
    let Some(inside) = path.strip_prefix("runtime/src/") else {
        return Vec::new();
    };
    if ROOF.contains(&path) || is_test(path) {
        return Vec::new();
    }
    let module = inside
        .strip_suffix("/mod.rs")
        .or(inside.strip_suffix(".rs"))
        .unwrap_or(inside);
    let own = module.split('/').next().unwrap_or(module);
    let Some(floor) = floor_of(own) else {
        return vec![complaint(
            path,
            1,
            "layers",
            &format!("module `{own}` has no floor; give it a floor in FLOORS"),
        )];
    };
    let tokens = tokens(text);
    let mut complaints = Vec::new();
    let mut braces = Vec::new(); // for each open one, whether it is that of an inline module
    for (i, &(_, token)) in tokens.iter().enumerate() {
        match token {
            "{" => braces.push(i >= 2 && tokens[i - 2].1 == "mod"),
            "}" => drop(braces.pop()),
            _ => {}
        }
        let depth = module.split('/').count() + braces.iter().filter(|inline| **inline).count();
        let root = match token {
            "crate" if is(&tokens, i + 1, "::") => i + 2,
            "super" if i < 2 || tokens[i - 2].1 != "super" => {
                let steps = tokens[i..]
                    .chunks(2)
                    .take_while(|pair| pair[0].1 == "super" && is(pair, 1, "::"))
                    .count();
                if steps < depth {
                    continue;
                }
                i + 2 * steps
            }
            _ => continue,
        };
        // The text of an exported macro belongs to its caller, who sees what `lib.rs` exports.
        let in_macro = i > 0 && tokens[i - 1].1 == "$";
        for (line, name) in heads(&tokens[root..]) {
            let cure = match floor_of(name) {
                Some(theirs) if theirs <= floor => continue,
                None if in_macro => continue,
                Some(theirs) => format!(
                    "`{own}` is on floor {floor} and imports `{name}` from floor {theirs}; move what both need down, or the user of it up"
                ),
                None => format!(
                    "`{name}` is in the crate's root, above all floors; import it from the module that defines it (a new module: give it a floor in FLOORS)"
                ),
            };
            complaints.push(complaint(path, line, "layers", &cure));
        }
    }
    complaints
}

fn platforms(path: &str, text: &str) -> Vec<String> {
    if path.starts_with("runtime/src/sys/") {
        return Vec::new();
    }
    let tokens = tokens(text);
    let conditions = (0..tokens.len())
        .filter(|&i| ["cfg", "cfg_attr"].contains(&tokens[i].1))
        .flat_map(|i| {
            let open = if is(&tokens, i + 1, "!") {
                i + 2
            } else {
                i + 1
            };
            if is(&tokens, open, "(") {
                group(&tokens[open..])
            } else {
                &[]
            }
        });
    conditions
        .filter(|(_, name)| name.starts_with("target_") || ["unix", "windows"].contains(name))
        .map(|&(line, name)| {
            let cure = format!("`{name}` in a cfg; put the difference behind a function or constant of runtime/src/sys/");
            complaint(path, line, "platforms", &cure)
        })
        .collect()
}

/// Documentation does not count: its length is a virtue, and follows that of the public face.
fn length(path: &str, text: &str) -> Vec<String> {
    let is_documentation =
        |line: &str| line.trim_start().starts_with("///") || line.starts_with("//!");
    let lines = text.lines().filter(|line| !is_documentation(line)).count();
    let limit = if is_test(path) { 700 } else { 450 };
    if lines <= limit {
        return Vec::new();
    }
    let cure =
        format!("{lines} lines, and {limit} are allowed; split the file where its subject splits");
    vec![complaint(path, limit + 1, "length", &cure)]
}

fn leftovers(path: &str, text: &str) -> Vec<String> {
    let in_word = |c: char| c.is_alphanumeric() || c == '_';
    let found = |line: &str, word: &str| {
        line.match_indices(word).any(|(at, _)| {
            !line[..at].ends_with(in_word) && !line[at + word.len()..].starts_with(in_word)
        })
    };
    let rows = text
        .lines()
        .zip(1..)
        .flat_map(|(line, row)| LEFTOVERS.map(|word| (line, row, word)));
    rows.filter(|(line, _, word)| found(line, word))
        .map(|(_, row, word)| {
            complaint(
                path,
                row,
                "leftovers",
                &format!("`{word}`; finish it, or open an issue and remove it"),
            )
        })
        .collect()
}

fn unsafe_places(path: &str, text: &str) -> Vec<String> {
    let tokens = tokens(text);
    let allows = |i: usize| {
        ["allow", "expect"].contains(&tokens[i].1)
            && is(&tokens, i + 1, "(")
            && group(&tokens[i + 1..])
                .iter()
                .any(|(_, lint)| *lint == "unsafe_code")
    };
    let Some(at) = (0..tokens.len()).find(|&i| allows(i)) else {
        return Vec::new();
    };
    let reason = |doc: &str| {
        doc.contains("# Safety")
            || doc
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .any(|word| word == "unsafe")
    };
    let mut cures = Vec::new();
    if !UNSAFE_PLACES.iter().any(|place| path.starts_with(place)) {
        cures.push("allows unsafe code in a place that is not in UNSAFE_PLACES; use what those places offer, or add this one");
    }
    if !text
        .lines()
        .any(|line| line.strip_prefix("//!").is_some_and(reason))
    {
        cures.push("allows unsafe code and does not say why; add a `# Safety` section to its `//!` docs, or what is unsafe and why");
    }
    cures
        .into_iter()
        .map(|cure| complaint(path, tokens[at].0, "unsafe_places", cure))
        .collect()
}

fn ignored(path: &str, text: &str) -> Vec<String> {
    let tokens = tokens(text);
    let attributes = (0..tokens.len()).filter(|&i| is(&tokens, i, "#") && is(&tokens, i + 1, "["));
    attributes
        .map(|i| group(&tokens[i + 1..]))
        .filter(|attribute| is(attribute, 0, "ignore") || is(attribute, 0, "cfg_attr"))
        .filter_map(|attribute| {
            let at = attribute.iter().position(|(_, token)| *token == "ignore")?;
            let reason = attribute.get(at + 2).filter(|_| is(attribute, at + 1, "="));
            let cure =
                "a test is ignored without a reason; write #[ignore = \"why, and how to run it\"]";
            let silent = reason.is_none_or(|(_, reason)| !reason.contains(char::is_alphanumeric));
            silent.then(|| complaint(path, attribute[at].0, "ignored", cure))
        })
        .collect()
}

/// Holds all source files of the workspace to `rule`.
fn check(rule: fn(&str, &str) -> Vec<String>) {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ is a folder of the workspace");
    let mut sources = Vec::new();
    collect(top, "", &mut sources);
    assert!(
        sources.iter().any(|(path, _)| path == ROOF[0]),
        "{} not found below {}",
        ROOF[0],
        top.display()
    );
    let complaints: Vec<_> = sources
        .iter()
        .flat_map(|(path, text)| rule(path, text))
        .collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

fn collect(folder: &Path, prefix: &str, sources: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).expect("a folder of the workspace can be read") {
        let entry = entry.expect("a folder of the workspace can be read");
        let name = entry
            .file_name()
            .into_string()
            .expect("names of files are UTF-8");
        let path = format!("{prefix}{name}");
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if !name.starts_with('.') && name != "target" {
                collect(&entry.path(), &format!("{path}/"), sources);
            }
        } else if name.ends_with(".rs") {
            let text = fs::read_to_string(entry.path()).expect("source files can be read");
            sources.push((path, text));
        }
    }
}

fn complaint(path: &str, line: usize, rule: &str, cure: &str) -> String {
    format!("{path}:{line}: {rule}: {cure}")
}

fn floor_of(module: &str) -> Option<usize> {
    FLOORS.iter().position(|modules| modules.contains(&module))
}

fn is_test(path: &str) -> bool {
    path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs")
}

/// A word, a literal, `::` or a single other character, with the line it begins on.
type Token<'a> = (usize, &'a str);

fn is(tokens: &[Token<'_>], at: usize, text: &str) -> bool {
    tokens.get(at).is_some_and(|token| token.1 == text)
}

/// Returns what the bracket that `tokens` begin with encloses.
fn group<'t, 'a>(tokens: &'t [Token<'a>]) -> &'t [Token<'a>] {
    let mut open = 0;
    let close = tokens.iter().position(|(_, token)| {
        open +=
            i32::from(["(", "[", "{"].contains(token)) - i32::from([")", "]", "}"].contains(token));
        open == 0
    });
    &tokens[1..close.unwrap_or(tokens.len())]
}

/// Returns the first names of the paths that `tokens` begin with: one, or those in the braces of a `use`.
fn heads<'a>(tokens: &[Token<'a>]) -> Vec<Token<'a>> {
    if !is(tokens, 0, "{") {
        return tokens.iter().take(1).copied().collect();
    }
    let (mut heads, mut depth, mut first) = (Vec::new(), 0, true);
    for &(line, token) in group(tokens) {
        if first {
            heads.push((line, token));
        }
        depth += i32::from(token == "{") - i32::from(token == "}");
        first = depth == 0 && token == ",";
    }
    heads
}

/// Splits Rust source into tokens, without comments.
fn tokens(text: &str) -> Vec<Token<'_>> {
    let (mut tokens, mut at, mut line) = (Vec::new(), 0, 1);
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        let token = &rest[..token_length(rest, first)];
        if !first.is_whitespace() && !token.starts_with("//") && !token.starts_with("/*") {
            tokens.push((line, token));
        }
        line += token.matches('\n').count();
        at += token.len();
    }
    tokens
}

fn token_length(rest: &str, first: char) -> usize {
    let through = |from: usize, end: &str| {
        rest[from..]
            .find(end)
            .map_or(rest.len(), |at| from + at + end.len())
    };
    let raw = ["r", "br", "cr"]
        .iter()
        .find_map(|prefix| rest.strip_prefix(prefix));
    if let Some(raw) = raw.filter(|raw| raw.trim_start_matches('#').starts_with('"')) {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        let body = rest.len() - raw.len() + hashes + 1;
        return through(body, &format!("\"{}", "#".repeat(hashes)));
    }
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return through(2, "*/");
    }
    if first == '"' {
        let mut escaped = false;
        let end = rest[1..].find(|c| {
            let closes = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            closes
        });
        return end.map_or(rest.len(), |end| end + 2);
    }
    if first == '\'' {
        let mut inner = rest[1..].chars();
        let (one, two) = (inner.next().unwrap_or(' '), inner.next().unwrap_or(' '));
        return match one {
            '\\' => through(2 + two.len_utf8(), "'"),
            _ if two == '\'' => 2 + one.len_utf8(),
            _ => 1, // a lifetime
        };
    }
    if rest.starts_with("::") {
        return 2;
    }
    let word = rest
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(rest.len());
    word.max(first.len_utf8())
}

/// Each rule on small inputs: what it must refuse, where, and what it must let pass.
mod rules_can_fail {
    use super::*;

    /// Asserts that `rule` complains about exactly these lines of `text`.
    fn refuses(rule: fn(&str, &str) -> Vec<String>, path: &str, text: &str, lines: &[usize]) {
        let complaints = rule(path, text);
        let starts: Vec<_> = lines
            .iter()
            .map(|line| format!("{path}:{line}: "))
            .collect();
        let agree = complaints.len() == lines.len()
            && complaints
                .iter()
                .zip(&starts)
                .all(|(c, s)| c.starts_with(s));
        assert!(
            agree,
            "expected {starts:#?}\ngot {complaints:#?}\nfor\n{text}"
        );
    }

    #[test]
    fn layers_refuses_imports_from_above_and_through_the_root() {
        let queue = "runtime/src/queue/mod.rs";
        refuses(
            layers,
            queue,
            "use crate::sync::Lock;\nuse crate::pool::Pool;",
            &[2],
        );
        refuses(
            layers,
            queue,
            "use crate::{\n    arena::{pool, Arena},\n    process,\n    wire::{self, net},\n};",
            &[3],
        );
        refuses(
            layers,
            queue,
            "fn f() { crate::registry::find(); super::manager::start(); }",
            &[1, 1],
        );
        refuses(
            layers,
            queue,
            "use crate::Error;\nuse crate::*;\nuse super::*;",
            &[1, 2, 3],
        );
        refuses(
            layers,
            queue,
            "use super::{sync, pool};\nmod a { use super::pool; use super::super::pool; }",
            &[1, 2],
        );
        refuses(
            layers,
            queue,
            "($x:expr) => { $crate::__private::go($crate::pool::go($x)) }",
            &[1],
        );
        refuses(
            layers,
            "runtime/src/queue/ring.rs",
            "use super::pool;\nuse super::super::{channel, pool};",
            &[2],
        );
        refuses(
            layers,
            "runtime/src/sys/linux/fd.rs",
            "use crate::error::Error;\nuse super::super::super::arena::A;",
            &[2],
        );
        refuses(layers, "runtime/src/new/mod.rs", "", &[1]);
        refuses(layers, "runtime/src/new.rs", "", &[1]);
        assert!(layers("runtime/src/new.rs", "")[0].contains("give it a floor"));
    }

    #[test]
    fn layers_lets_comments_strings_tests_and_the_roof_pass() {
        let text = "/* crate::pool */ // crate::pool\nconst S: &str = \"crate::pool\"; pub(crate) fn f(pool: u8) {}";
        refuses(layers, "runtime/src/arena/mod.rs", text, &[]);
        for exempt in [
            "runtime/src/queue/tests.rs",
            "runtime/src/lib.rs",
            "runtime/src/private.rs",
            "examples/a/main.rs",
        ] {
            refuses(layers, exempt, "use crate::pool::Pool;", &[]);
        }
    }

    #[test]
    fn platforms_refuses_cfg_of_the_platform_outside_sys() {
        let text = "#[cfg(all(test, not(\n    target_os = \"linux\")))]\nconst C: bool = cfg!(unix);\n#[cfg_attr(windows, path = \"w.rs\")]\nmod m;";
        refuses(platforms, "runtime/src/queue/mod.rs", text, &[2, 3, 4]);
        refuses(platforms, "runtime/src/sys/mod.rs", text, &[]);
        let other =
            "#[cfg(feature = \"unix\")] // cfg(unix)\nfn unix(windows: u8) { f(cfg, windows) }";
        refuses(platforms, "runtime/src/queue/mod.rs", other, &[]);
    }

    #[test]
    fn length_refuses_long_files() {
        refuses(length, "runtime/src/lib.rs", &"\n".repeat(450), &[]);
        refuses(length, "runtime/src/lib.rs", &"\n".repeat(451), &[451]);
        refuses(length, "runtime/src/queue/tests.rs", &"\n".repeat(700), &[]);
        refuses(length, "tests/tests/queue.rs", &"\n".repeat(701), &[701]);
    }

    #[test]
    fn leftovers_refuses_each_word() {
        for word in LEFTOVERS {
            refuses(
                leftovers,
                "a.rs",
                &format!("fn f() {{\n    {word}(); // X{word}\n}}"),
                &[2],
            );
            refuses(leftovers, "a.rs", &format!("a{word} _{word} é{word}"), &[]);
        }
    }

    #[test]
    fn unsafe_places_refuses_unlisted_and_unexplained_files() {
        let allow = "\n#![allow(\n    unsafe_code)]";
        let (section, word) = (
            format!("//! # Safety{allow}"),
            format!("//! The unsafe part.{allow}"),
        );
        refuses(unsafe_places, "runtime/src/sys/fd.rs", &section, &[]);
        refuses(unsafe_places, "runtime/src/sys/fd.rs", &word, &[]);
        refuses(
            unsafe_places,
            "runtime/src/sys/fd.rs",
            &format!("//! About unsafe_code.{allow}"),
            &[2],
        );
        refuses(unsafe_places, "runtime/src/registry/mod.rs", &section, &[2]);
        refuses(
            unsafe_places,
            "runtime/src/registry/mod.rs",
            "#[expect(unsafe_code)]\nfn f() {}",
            &[1, 1],
        );
        refuses(
            unsafe_places,
            "runtime/src/registry/mod.rs",
            "// allow(unsafe_code)\n#![deny(unsafe_code)]",
            &[],
        );
    }

    #[test]
    fn ignored_refuses_a_missing_reason() {
        let text = "#[ignore]\nfn a() {}\n#[ignore = \" \"]\nfn b() {}\n#[cfg_attr(miri, ignore)]\nfn c() {}";
        refuses(ignored, "a.rs", text, &[1, 3, 5]);
        let text = "#[ignore = \"slow\"]\nfn ignore() { x[ignore] }\n#[cfg_attr(miri, ignore = \"no futex\")]\nfn c() {}";
        refuses(ignored, "a.rs", text, &[]);
    }

    #[test]
    fn tokens_are_not_misled_by_literals() {
        let text = r##"f(b'"', '\'', '\\', 'é', "a\"b\\", r#"c"d"#, r#e) /* " */ 'l::m // n "##;
        let expected =
            r##"f ( b '"' , '\'' , '\\' , 'é' , "a\"b\\" , r#"c"d"# , r # e ) ' l :: m"##;
        assert_eq!(
            tokens(text)
                .iter()
                .map(|token| token.1)
                .collect::<Vec<_>>()
                .join(" "),
            expected
        );
    }
}
