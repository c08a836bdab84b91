//! Which program a container starts, as far as its words show.

/// The program, and where in the words what concerns it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    /// The image's own entry point, with all words as its arguments.
    EntryPoint,
    /// etcd; its arguments begin here.
    Etcd(usize),
    /// A shell with a script of its own, which is this word.
    Script(usize),
    /// A shell with a script in a file, which is this word.
    ScriptFile(usize),
    /// Any other program, which is this word.
    Other(usize),
}

/// A program that starts the one behind its own options.
struct Wrapper {
    name: &'static str,
    /// The options that take the word after them.
    with_value: &'static [&'static str],
    /// The words between its options and the program.
    operands: usize,
}

const WRAPPERS: [Wrapper; 16] = [
    Wrapper { name: "tini", with_value: &["-p", "-e"], operands: 0 },
    Wrapper { name: "tini-static", with_value: &["-p", "-e"], operands: 0 },
    Wrapper { name: "dumb-init", with_value: &["-r", "--rewrite"], operands: 0 },
    Wrapper { name: "catatonit", with_value: &[], operands: 0 },
    Wrapper { name: "env", with_value: &["-u", "--unset", "-C", "--chdir"], operands: 0 },
    Wrapper { name: "exec", with_value: &[], operands: 0 },
    Wrapper { name: "nohup", with_value: &[], operands: 0 },
    Wrapper { name: "setsid", with_value: &[], operands: 0 },
    Wrapper { name: "nice", with_value: &["-n", "--adjustment"], operands: 0 },
    Wrapper { name: "ionice", with_value: &["-c", "-n", "--class", "--classdata"], operands: 0 },
    Wrapper { name: "stdbuf", with_value: &["-i", "-o", "-e"], operands: 0 },
    Wrapper {
        name: "setpriv",
        with_value: &["--reuid", "--regid", "--groups", "--inh-caps", "--bounding-set"],
        operands: 0,
    },
    Wrapper { name: "gosu", with_value: &[], operands: 1 },
    Wrapper { name: "su-exec", with_value: &[], operands: 1 },
    Wrapper { name: "timeout", with_value: &["-k", "-s", "--kill-after", "--signal"], operands: 1 },
    Wrapper { name: "chroot", with_value: &[], operands: 1 },
];

const SHELLS: [&str; 7] = ["sh", "bash", "ash", "dash", "ksh", "mksh", "zsh"];
/// Letters among the options of a shell, and long options, that take the word after them.
const WITH_VALUE: [char; 2] = ['o', 'O'];
const LONG_WITH_VALUE: [&str; 2] = ["--rcfile", "--init-file"];

/// The name of a program without its folder.
pub(super) fn base(program: &str) -> &str {
    program.rsplit('/').next().unwrap_or(program)
}

/// Whether a program is etcd itself.
pub(super) fn is_etcd(program: &str) -> bool {
    base(program) == "etcd"
}

/// Subcommands of the etcd program that run no member.
pub(super) fn is_proxy(word: &str) -> bool {
    matches!(word, "grpc-proxy" | "gateway")
}

/// Whether a program starts another one that stands behind its options.
pub(super) fn wraps(program: &str) -> bool {
    WRAPPERS.iter().any(|wrapper| wrapper.name == base(program))
}

/// The program among `words`, the command and its arguments. Without a command, words that name no program known here are
/// for the image's own entry point.
pub(super) fn program(words: &[&str], has_command: bool) -> Program {
    let mut at = 0;
    while let Some(word) = words.get(at) {
        let name = base(word);
        if is_etcd(name) {
            return Program::Etcd(at + 1);
        }
        if SHELLS.contains(&name) {
            return shell(words, at);
        }
        if name == "busybox" {
            at += 1;
        } else if let Some(wrapper) = WRAPPERS.iter().find(|wrapper| wrapper.name == name) {
            at = wrapper.behind(words, at + 1);
        } else if at == 0 && !has_command {
            return Program::EntryPoint;
        } else {
            return Program::Other(at);
        }
    }
    if has_command { Program::Other(0) } else { Program::EntryPoint }
}

impl Wrapper {
    /// Where the program begins that this one starts.
    fn behind(&self, words: &[&str], mut at: usize) -> usize {
        while let Some(word) = words.get(at) {
            match *word {
                "--" => {
                    at += 1;
                    break;
                }
                option if self.with_value.contains(&option) => at += 2,
                option if option.starts_with('-') => at += 1,
                assignment if self.name == "env" && assignment.contains('=') => at += 1,
                _ => break,
            }
        }
        at + self.operands
    }
}

/// What the shell at this word runs. Its options may be in one word or in several, `c` among them anywhere; the script is
/// the first word behind all of them.
fn shell(words: &[&str], shell: usize) -> Program {
    let mut at = shell + 1;
    let mut script = false;
    while let Some(word) = words.get(at) {
        let sign = word.chars().next().filter(|sign| matches!(sign, '-' | '+'));
        let Some(sign) = sign else { break };
        at += 1;
        let letters = word.get(1..).unwrap_or_default();
        if letters.is_empty() || *word == "--" {
            break;
        }
        if letters.starts_with('-') {
            at += usize::from(LONG_WITH_VALUE.contains(word));
            continue;
        }
        script |= sign == '-' && letters.contains('c');
        at += letters.chars().filter(|letter| WITH_VALUE.contains(letter)).count();
    }
    match (script, words.get(at)) {
        (true, Some(_)) => Program::Script(at),
        (false, Some(_)) => Program::ScriptFile(at),
        (_, None) => Program::Other(shell),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_and_where_they_stand() {
        for (words, expected) in [
            ("etcd --a", Program::Etcd(1)),
            ("/usr/local/bin/etcd", Program::Etcd(1)),
            ("tini -- etcd --a", Program::Etcd(3)),
            ("/sbin/tini -g -p SIGTERM /bin/etcd", Program::Etcd(5)),
            ("env A=b -u C D=e etcd", Program::Etcd(6)),
            ("gosu etcd etcd --a", Program::Etcd(3)),
            ("nice -n 5 ionice -c 2 etcd", Program::Etcd(7)),
            ("timeout -k 5 9 etcd", Program::Etcd(5)),
            ("sh -c S", Program::Script(2)),
            ("sh -ec S", Program::Script(2)),
            ("sh -ce S", Program::Script(2)),
            ("sh -e -c S", Program::Script(3)),
            ("sh -c -e S", Program::Script(3)),
            ("sh -c -- S", Program::Script(3)),
            ("bash -o pipefail -c S", Program::Script(4)),
            ("bash -euo pipefail -c S", Program::Script(4)),
            ("bash -ceuo pipefail S", Program::Script(3)),
            ("bash -euxc S", Program::Script(2)),
            ("bash +e -c S", Program::Script(3)),
            ("bash --norc --rcfile x -c S", Program::Script(5)),
            ("busybox sh -c S", Program::Script(3)),
            ("tini -- /bin/sh -c S", Program::Script(4)),
            ("sh /start.sh -c S", Program::ScriptFile(1)),
            ("bash -x /start.sh", Program::ScriptFile(2)),
            ("sh -o nounset /start.sh", Program::ScriptFile(3)),
            ("sh", Program::Other(0)),
            ("sh -c", Program::Other(0)),
            ("/start.sh etcd", Program::Other(0)),
            ("tini -- /start.sh etcd", Program::Other(2)),
            ("tini", Program::Other(0)),
        ] {
            let words: Vec<&str> = words.split(' ').collect();
            assert_eq!(program(&words, true), expected, "{words:?}");
        }
        for (words, expected) in [
            (vec![], Program::EntryPoint),
            (vec!["--a"], Program::EntryPoint),
            (vec!["start-etcd", "--a"], Program::EntryPoint),
            (vec!["etcd", "--a"], Program::Etcd(1)),
            (vec!["sh", "-c", "S"], Program::Script(2)),
        ] {
            assert_eq!(program(&words, false), expected, "{words:?}");
        }
    }
}
