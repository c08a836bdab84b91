//! The commands of a shell that set variables.

use super::{arithmetic, lex::is_identifier, variables::Variables};
use crate::defrag::etcd::{
    expand::Exported,
    marks::{UNKNOWN, is_known},
};

/// The commands that are read here.
const ALL: [&str; 18] = [
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
    // What an attribute makes of a value is not followed.
    let mut changes_values = false;
    let mut options = true;
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
            Some(_) if letters == "-" => return,
            Some(_) => {
                letters.contains('a') || (letters.ends_with('o') && words.next().is_some_and(|o| o == "allexport"))
            }
            None if is_known(word) => return,
            None => {
                variables.exports_all = variables.exports_all.or(Exported::Maybe);
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
