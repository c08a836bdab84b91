//! The commands of a shell that set variables.

use super::{
    Item, arithmetic,
    later::names_set,
    lex::{GIVEN, is_identifier, lex},
    variables::Variables,
};
use crate::defrag::etcd::{
    expand::Exported,
    launch::is_etcd,
    marks::{UNKNOWN, is_known},
};

/// The commands that are read here.
const ALL: [&str; 20] = [
    "export",
    "declare",
    "typeset",
    "local",
    "readonly",
    "unset",
    "read",
    "mapfile",
    "readarray",
    "getopts",
    "let",
    "printf",
    "set",
    "shift",
    "trap",
    ".",
    "source",
    "eval",
    "alias",
    "enable",
];
/// Those that a shell of POSIX knows as special: what is set in front of one of them may stay.
const SPECIAL: [&str; 12] =
    [":", ".", "eval", "exec", "export", "readonly", "set", "unset", "shift", "trap", "times", "return"];

pub(super) fn is_builtin(name: &str) -> bool {
    ALL.contains(&name)
}

/// Whether what is set in front of this command may stay.
pub(super) fn is_special(name: &str) -> bool {
    SPECIAL.contains(&name)
}

/// Does what one of these commands does to the variables. Tells whether it may do anything besides.
pub(super) fn run(name: &str, arguments: &[String], variables: &mut Variables<'_>, certain: bool) -> bool {
    match name {
        "export" | "declare" | "typeset" | "local" | "readonly" => declare(name, arguments, variables, certain),
        "unset" => unset(arguments, variables, certain),
        "let" => compute(arguments, variables, certain),
        "printf" => print(arguments, variables, certain),
        "set" => set(arguments, variables, certain),
        "shift" => {
            let count = arguments.first().map_or(Some(1), |count| count.parse().ok());
            variables.shift(count, certain);
        }
        "trap" => return trap(arguments, variables),
        "." | "source" => variables.forget(),
        "eval" | "alias" | "enable" => {
            variables.forget();
            return true;
        }
        _ => read(arguments, variables),
    }
    false
}

/// `export` and its like: options, then names, each with or without a value.
fn declare(command: &str, arguments: &[String], variables: &mut Variables<'_>, certain: bool) {
    let mut exports = (command == "export").then_some(true);
    let mut locks = command == "readonly";
    // What an attribute makes of a value is not followed.
    let mut changes_values = false;
    let mut options = true;
    // Outside of a function most shells refuse it, and set nothing.
    let certain = certain && (command != "local" || variables.functions > 0);
    for argument in arguments {
        let sign = argument.chars().next().filter(|sign| options && matches!(sign, '-' | '+') && argument.len() > 1);
        if let Some(sign) = sign {
            let letters = argument.get(1..).unwrap_or_default();
            match letters {
                "-" => options = false,
                _ if letters.contains(['f', 'F', 'p']) => return,
                _ if letters.contains('n') && command != "export" => return variables.forget(),
                _ => {}
            }
            if letters.contains('n') || (sign == '+' && letters.contains('x')) {
                exports = Some(false);
            } else if letters.contains('x') {
                exports = Some(true);
            }
            changes_values |= letters.contains(['i', 'l', 'u', 'c']);
            locks |= sign == '-' && letters.contains('r');
            continue;
        }
        options = false;
        let (name, value) = argument.split_once('=').map_or((argument.as_str(), None), |(n, v)| (n, Some(v)));
        let bare = name.strip_suffix('+').unwrap_or(name);
        if !is_known(name) {
            return variables.forget();
        }
        if !is_identifier(bare) {
            continue;
        }
        if let Some(value) = value {
            let is_plain = !changes_values && bare.len() == name.len();
            variables.set(bare, if is_plain { value.to_owned() } else { UNKNOWN.to_string() }, certain);
        } else if changes_values {
            variables.set(bare, UNKNOWN.to_string(), false);
        }
        if let Some(exports) = exports {
            variables.export(bare, exports, certain);
        }
        if locks {
            variables.lock(bare);
        }
    }
}

fn unset(arguments: &[String], variables: &mut Variables<'_>, certain: bool) {
    for argument in arguments {
        if !is_known(argument) {
            return variables.forget();
        }
        if argument == "-f" {
            return;
        }
        if is_identifier(argument) {
            variables.unset(argument, certain);
        }
    }
}

/// `let`: computations, each an argument.
fn compute(arguments: &[String], variables: &mut Variables<'_>, certain: bool) {
    for argument in arguments {
        let (name, rest) = argument.split_once('=').unwrap_or((argument, ""));
        let name = name.trim();
        let number = arithmetic::evaluate(rest, &mut |name| variables.text(name));
        if let Some(number) = number.filter(|_| is_identifier(name)) {
            variables.set(name, number.to_string(), certain);
        } else if is_known(argument) {
            for name in arithmetic::assigned(argument) {
                variables.set(name, UNKNOWN.to_string(), false);
            }
        } else {
            return variables.forget();
        }
    }
}

/// `printf -v NAME format …`.
fn print(arguments: &[String], variables: &mut Variables<'_>, certain: bool) {
    let [option, rest @ ..] = arguments else { return };
    let (name, rest) = match (option.strip_prefix("-v"), rest) {
        (Some(""), [name, rest @ ..]) => (name.as_str(), rest),
        (Some(name), rest) if !name.is_empty() => (name, rest),
        _ => return,
    };
    if !is_identifier(name) {
        return variables.forget();
    }
    let value = match rest {
        [format] if !format.contains(['%', '\\']) => Some(format),
        [format, value] if format == "%s" => Some(value),
        _ => None,
    };
    variables.set(name, value.cloned().unwrap_or_else(|| UNKNOWN.to_string()), certain);
}

fn set(arguments: &[String], variables: &mut Variables<'_>, certain: bool) {
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let sign = word.chars().next().filter(|sign| matches!(sign, '-' | '+'));
        let letters = word.get(1..).unwrap_or_default();
        let all = match sign {
            Some(_) if letters == "-" => return variables.set_array(GIVEN, words.cloned().collect(), certain),
            Some(_) => {
                letters.contains('a') || (letters.ends_with('o') && words.next().is_some_and(|o| o == "allexport"))
            }
            None if is_known(word) => {
                let given = std::iter::once(word).chain(words).cloned().collect();
                return variables.set_array(GIVEN, given, certain);
            }
            None => {
                variables.exports_all = variables.exports_all.or(Exported::Maybe);
                variables.doubt(GIVEN);
                continue;
            }
        };
        if all {
            variables.exports_all = match (certain, sign) {
                (true, Some('-')) => Exported::Yes,
                (true, _) => Exported::No,
                (false, _) => Exported::Maybe,
            };
        }
    }
}

/// `trap ACTION CONDITION…`: what the action sets may be set at any time. Tells whether it may do anything besides.
fn trap(arguments: &[String], variables: &mut Variables<'_>) -> bool {
    let mut words = arguments.iter().skip_while(|word| *word == "--");
    let Some(action) = words.next() else { return false };
    // What runs when the shell ends sets nothing for programs.
    let at_the_end = words.clone().all(|condition| matches!(condition.as_str(), "EXIT" | "0"));
    if at_the_end || action.is_empty() || action == "-" {
        return false;
    }
    let (items, is_opaque) = lex(action);
    let does_more = |item: &Item| {
        let Item::Command(command) = item else { return false };
        let first = command.words.first().and_then(|word| word.literal());
        let starts = command.words.iter().filter_map(|word| word.literal()).any(is_etcd);
        starts || first.is_none_or(|word| matches!(word, "eval" | "." | "source" | "alias" | "enable"))
    };
    for item in &items {
        for name in names_set(item) {
            variables.set(name, UNKNOWN.to_string(), false);
        }
        for name in names_exported(item) {
            variables.export(name, true, false);
        }
    }
    if !is_known(action) {
        variables.forget();
    }
    is_opaque || !is_known(action) || items.iter().any(does_more)
}

/// The variables that a part of a script may give to programs.
fn names_exported(item: &Item) -> Vec<&str> {
    let Item::Command(command) = item else { return Vec::new() };
    let first = command
        .words
        .iter()
        .position(|word| word.literal().is_some_and(|word| matches!(word, "export" | "declare" | "typeset")));
    let words = first.and_then(|first| command.words.get(first + 1..)).unwrap_or_default();
    words
        .iter()
        .filter_map(|word| word.assigned().map_or_else(|| word.literal(), |assigned| Some(assigned.name)))
        .filter(|name| is_identifier(name))
        .collect()
}

/// `read` and its like: whatever may be the name of a variable among the words, is one that is read.
fn read(arguments: &[String], variables: &mut Variables<'_>) {
    if !arguments.iter().all(|argument| is_known(argument)) {
        return variables.forget();
    }
    for name in ["REPLY", "MAPFILE", "OPTARG", "OPTIND"] {
        variables.set(name, UNKNOWN.to_string(), false);
    }
    for name in arguments.iter().filter(|argument| is_identifier(argument)) {
        variables.set(name, UNKNOWN.to_string(), false);
    }
}
