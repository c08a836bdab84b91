//! Generated rules and states, and the engine's library to ask about them.

#![allow(dead_code, reason = "each test uses a part")]

#[allow(unreachable_pub, reason = "shared with the other differential tests")]
#[path = "../oracle/harness.rs"]
mod harness;

use etcd_defrag_webhook::defrag::rule::{SMALLEST_DATABASE, State};

pub(crate) use harness::Random;

/// The number in an environment variable, or a default.
pub(crate) fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

const VARIABLES: [&str; 5] = ["dbSize", "dbSizeInUse", "dbSizeFree", "dbQuota", "dbQuotaUsage"];
const NUMBERS: [&str; 44] = [
    "0",
    "1",
    "2",
    "3",
    "10",
    "32",
    "80",
    "100",
    "200",
    "1024",
    "0.8",
    "0.9",
    ".5",
    "1.",
    "1e9",
    "5e8",
    "0x10",
    "0X1F",
    "1_000",
    "010",
    "0b101",
    "0o17",
    "0x1p10",
    "209715200",
    "1073741824",
    "2147483648",
    "8589934592",
    "9223372036854775807",
    "0xFFFFFFFFFFFFFFFF",
    "1e308",
    "1e-320",
    "0.1",
    "1.5",
    "63",
    "64",
    "0x1.8p3",
    "08.5",
    "0_7",
    "0.25",
    "4096",
    "200*1024*1024",
    "32*1024*1024",
    "80/100",
    "9007199254740993",
];
const ODD: [&str; 68] = [
    "\"a\"",
    "`a`",
    "'a'",
    "nil",
    "[1]",
    "[]",
    "{}",
    "{\"a\":1}",
    "dbSize.x",
    "dbSize[0]",
    "f(1)",
    "f()",
    "in",
    "IN",
    "and",
    "dbsize",
    "=",
    ";",
    "--",
    "++",
    "&^",
    "<-",
    "...",
    ".",
    ",",
    "?",
    ":",
    "$",
    "@",
    "#",
    "\\",
    "//x\n",
    "//x",
    "/*x*/",
    "/*",
    "\n",
    "\t",
    "\r",
    "\u{b}",
    "\u{a0}",
    "\u{feff}",
    "\0",
    "é",
    "≥",
    "“",
    "1i",
    "0x",
    "0b12",
    "1e",
    "1p3",
    "0x1.8",
    "0x_1",
    "1_",
    "1e+5",
    "1e-5",
    "if",
    "return",
    "true",
    "false",
    "200Mi",
    "80%",
    "_",
    "**",
    "~",
    "08",
    "1e999",
    "1__0",
    "9223372036854775808",
];
const ARITHMETIC: [&str; 13] = ["+", "-", "*", "/", "+", "-", "*", "/", "%", "<<", ">>", "&", "|"];
const COMPARISONS: [&str; 7] = [">", "<", ">=", "<=", "==", "!=", "<-"];

/// Rules by the grammar, some of them with deliberate faults.
pub(crate) fn rule(random: &mut Random) -> String {
    let mut text = String::new();
    boolean(random, &mut text, 3);
    match random.below(10) {
        0..=5 => {}
        6 | 7 => mutate(random, &mut text),
        8 => {
            for _ in 0..3 {
                mutate(random, &mut text);
            }
        }
        _ => text = soup(random),
    }
    text
}

/// Rules by the grammar only.
pub(crate) fn sound_rule(random: &mut Random) -> String {
    let mut text = String::new();
    boolean(random, &mut text, 3);
    text
}

fn boolean(random: &mut Random, text: &mut String, depth: u64) {
    let choice = if depth == 0 { 10 } else { random.below(20) };
    match choice {
        0..=3 => binary(random, text, &["&&", "||"], depth, boolean),
        4 => {
            text.push('!');
            bracketed(random, text, depth, boolean);
        }
        5 => bracketed(random, text, depth, boolean),
        6 if random.chance(30) => {
            bracketed(random, text, depth, boolean);
            text.push_str(" ? ");
            boolean(random, text, depth - 1);
            text.push_str(" : ");
            boolean(random, text, depth - 1);
        }
        7 if random.chance(20) => text.push_str(random.word(&["true", "false"])),
        8 if random.chance(20) => binary(random, text, &["==", "!="], depth, boolean),
        _ => {
            number(random, text, depth.min(2));
            blank(random, text);
            text.push_str(random.word(&COMPARISONS));
            blank(random, text);
            number(random, text, depth.min(2));
        }
    }
}

fn number(random: &mut Random, text: &mut String, depth: u64) {
    let choice = if depth == 0 { random.below(10) } else { random.below(20) };
    match choice {
        0..=4 => text.push_str(random.word(&VARIABLES)),
        5..=8 => text.push_str(random.word(&NUMBERS)),
        9 => text.push_str(&(random.bits() >> random.below(64)).to_string()),
        10..=15 => binary(random, text, &ARITHMETIC, depth, number),
        16 => {
            text.push_str(random.word(&["-", "-", "~"]));
            number(random, text, depth - 1);
        }
        18 if random.chance(40) => {
            bracketed(random, text, depth, boolean);
            text.push_str(" ? ");
            number(random, text, depth - 1);
            text.push(':');
            number(random, text, depth - 1);
        }
        19 if random.chance(60) => {
            number(random, text, depth - 1);
            text.push_str("**");
            text.push_str(
                random.word(&["2", "3", "10", "20", "0.5", "-1", "0", "1.5", "dbSize", "64", "-0.5", "1e30"]),
            );
        }
        _ => bracketed(random, text, depth, number),
    }
}

type Part = fn(&mut Random, &mut String, u64);

fn binary(random: &mut Random, text: &mut String, operators: &[&str], depth: u64, part: Part) {
    part(random, text, depth - 1);
    blank(random, text);
    text.push_str(random.word(operators));
    blank(random, text);
    part(random, text, depth - 1);
}

fn bracketed(random: &mut Random, text: &mut String, depth: u64, part: Part) {
    text.push('(');
    part(random, text, depth - 1);
    text.push(')');
}

fn blank(random: &mut Random, text: &mut String) {
    if random.chance(70) {
        text.push(' ');
    }
}

fn mutate(random: &mut Random, text: &mut String) {
    let mut characters: Vec<char> = text.chars().collect();
    let at = random.below(characters.len() + 1);
    match random.below(6) {
        0 if at < characters.len() => {
            characters.remove(at);
        }
        1 if at < characters.len() => {
            let other = random.below(characters.len());
            characters.swap(at, other);
        }
        2 => {
            let operator =
                random.word(&["+", "-", "*", "/", "%", "^", "&", "|", "&&", "||", "<<", "==", "!", "(", ")"]);
            characters.splice(at..at, operator.chars());
        }
        3 => {
            let end = (at + 4).min(characters.len());
            characters.drain(at..end);
        }
        4 => {
            let number = random.word(&NUMBERS);
            characters.splice(at..at, number.chars());
        }
        _ => {
            let odd = random.word(&ODD);
            characters.splice(at..at, odd.chars());
        }
    }
    *text = characters.into_iter().collect();
}

/// Words, and sometimes single characters, in no order.
fn soup(random: &mut Random) -> String {
    let mut text = String::new();
    for _ in 0..random.below(12) {
        match random.below(6) {
            0 => text.push_str(random.word(&ODD)),
            1 => text.push_str(random.word(&NUMBERS)),
            2 => text.push_str(random.word(&VARIABLES)),
            3 => text.push_str(random.word(&ARITHMETIC)),
            4 => text.push_str(random.word(&COMPARISONS)),
            _ if random.chance(50) => text.push(char::from(random.below(96_u8) + 32)),
            _ => text.push(char::from_u32(random.below(0x3000)).unwrap_or(' ')),
        }
        blank(random, &mut text);
    }
    text
}

pub(crate) const QUOTAS: [u64; 7] = [2 << 30, 8 << 30, 4 << 30, 16 << 30, 2_147_483_647, 100 << 20, 10_000_000_000];

/// A state with sizes that rules tend to have their edges at.
pub(crate) fn state(random: &mut Random, quota: u64, limit: u64) -> State {
    let size = match random.below(8) {
        0 => quota,
        1 => limit,
        2 => random.bits() >> (24 + random.below(40)),
        3 => (quota / 10).saturating_mul(random.below(13)).wrapping_add(random.below(3)),
        4 => random.below(9) << 20,
        _ => random.below(limit + 1),
    };
    let size = size.clamp(SMALLEST_DATABASE.min(limit), limit);
    let free = match random.below(8) {
        0 => 0,
        1 => size,
        2 => size.saturating_sub(random.below(1 << 20)),
        3 => random.below(300) << 20,
        4 => random.below(3),
        _ => random.below(size + 1),
    };
    State { db_size: size, db_size_in_use: size - free.min(size), quota }
}

/// The answers of the engine's library: a character for each state of each question. `None` where there is no Go.
pub(crate) fn ask(questions: &[(String, Vec<State>)]) -> Option<Vec<String>> {
    let oracle = harness::oracle()?;
    let lines: Vec<String> = questions
        .iter()
        .map(|(rule, states)| {
            let states: Vec<_> = states.iter().map(|s| (s.db_size, s.db_size_in_use, s.quota)).collect();
            serde_json::json!({"rule": rule, "states": states}).to_string()
        })
        .collect();
    Some(harness::ask(oracle, "rule", &[], &lines))
}
