//! Which program a container starts, as far as its command and arguments show.

/// The program, and where its arguments are in the words.
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

/// What is done to the environment on the way to a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change<'a> {
    /// All variables are taken away.
    Clear,
    Unset(&'a str),
    Set(&'a str, &'a str),
}

/// A program, and the way to it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Launched<'a> {
    pub(super) program: Program,
    pub(super) changes: Vec<Change<'a>>,
    /// The words that name the programs on the way.
    pub(super) through: Vec<usize>,
    /// Whether the shell gives each variable that it sets to programs (`-a`).
    pub(super) exports_all: bool,
}

/// A program that starts the one behind its own options.
struct Wrapper {
    name: &'static str,
    /// The options that take the word after them.
    with_value: &'static [&'static str],
    /// The words between its options and the program.
    operands: usize,
}

const WRAPPERS: [Wrapper; 19] = [
    Wrapper { name: "tini", with_value: &["-p", "-e"], operands: 0 },
    Wrapper { name: "tini-static", with_value: &["-p", "-e"], operands: 0 },
    Wrapper { name: "dumb-init", with_value: &["-r", "--rewrite"], operands: 0 },
    Wrapper { name: "catatonit", with_value: &[], operands: 0 },
    Wrapper { name: "env", with_value: &[], operands: 0 },
    Wrapper { name: "exec", with_value: &["-a"], operands: 0 },
    Wrapper { name: "command", with_value: &[], operands: 0 },
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
    // The processors, and the priority.
    Wrapper { name: "taskset", with_value: &[], operands: 1 },
    Wrapper {
        name: "chrt",
        with_value: &["-T", "-P", "-D", "--sched-runtime", "--sched-period", "--sched-deadline"],
        operands: 1,
    },
];

const SHELLS: [&str; 7] = ["sh", "bash", "ash", "dash", "ksh", "mksh", "zsh"];
/// Letters among the options of a shell, and long options, that take the word after them.
const WITH_VALUE: [char; 2] = ['o', 'O'];
const LONG_WITH_VALUE: [&str; 2] = ["--rcfile", "--init-file"];
/// How many programs that start each other are read.
const MOST_STEPS: usize = 16;
/// Where a program without a folder is looked for, besides what `PATH` says, and how many folders of that are read.
const FOLDERS: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
const MOST_FOLDERS: usize = 16;

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

/// Whether a program starts another one that follows its options.
pub(super) fn wraps(program: &str) -> bool {
    WRAPPERS.iter().any(|wrapper| wrapper.name == base(program))
}

/// Whether a program is a shell.
pub(super) fn is_shell(program: &str) -> bool {
    SHELLS.contains(&base(program))
}

/// The paths at which a program may lie that is looked for by this `PATH`.
pub(super) fn places(program: &str, path: Option<&str>) -> Vec<String> {
    if program.contains('/') {
        return vec![program.to_owned()];
    }
    let folders = path.into_iter().flat_map(|path| path.split(':')).filter(|folder| folder.starts_with('/'));
    folders.take(MOST_FOLDERS).chain(FOLDERS).map(|folder| format!("{folder}/{program}")).collect()
}

/// The program among `words`, the command and its arguments. Without a command, words that name no program known here are
/// for the image's own entry point.
pub(super) fn program(words: &[&str], has_command: bool) -> Program {
    launch(words, has_command).program
}

/// The same, with the way to it.
pub(super) fn launch<'a>(words: &[&'a str], has_command: bool) -> Launched<'a> {
    let mut launched =
        Launched { program: Program::EntryPoint, changes: Vec::new(), through: Vec::new(), exports_all: false };
    launched.program = launched.follow(words, has_command);
    launched
}

impl<'a> Launched<'a> {
    fn follow(&mut self, words: &[&'a str], has_command: bool) -> Program {
        let mut at = 0;
        while let Some(word) = words.get(at) {
            let name = base(word);
            if is_etcd(name) {
                return Program::Etcd(at + 1);
            }
            if self.through.len() == MOST_STEPS {
                return Program::Other(0);
            }
            let here = at;
            if SHELLS.contains(&name) {
                self.through.push(here);
                return self.shell(words, at);
            }
            if name == "busybox" {
                at += 1;
            } else if let Some(wrapper) = WRAPPERS.iter().find(|wrapper| wrapper.name == name) {
                match self.behind(wrapper, words, at + 1) {
                    Some(behind) => at = behind,
                    None => return Program::Other(here),
                }
            } else if at == 0 && !has_command {
                return Program::EntryPoint;
            } else {
                return Program::Other(at);
            }
            self.through.push(here);
        }
        if has_command { Program::Other(0) } else { Program::EntryPoint }
    }

    /// Where the program begins that a wrapper starts; `None` where it starts none, or one that is not seen.
    fn behind(&mut self, wrapper: &Wrapper, words: &[&'a str], mut at: usize) -> Option<usize> {
        while let Some(word) = words.get(at) {
            match (wrapper.name, *word) {
                (_, "--") => {
                    at += 1;
                    if wrapper.name != "env" {
                        break;
                    }
                }
                ("env", option) if option.starts_with('-') => at += self.option_of_env(option, words.get(at + 1))?,
                ("env", assignment) => match assignment.split_once('=') {
                    Some((name, value)) => {
                        self.changes.push(Change::Set(name, value));
                        at += 1;
                    }
                    None => break,
                },
                // These only say where a program is.
                ("command", option) if option.starts_with('-') && option.contains(['v', 'V']) => return None,
                (_, option) if wrapper.with_value.contains(&option) => at += 2,
                (name, option) if option.starts_with('-') => {
                    let clears = (name == "exec" && option.contains('c')) || option == "--reset-env";
                    self.changes.extend(clears.then_some(Change::Clear));
                    at += 1;
                }
                _ => break,
            }
        }
        Some(at + wrapper.operands)
    }

    /// How many words an option of `env` takes; `None` where it hides the program.
    fn option_of_env(&mut self, option: &'a str, next: Option<&&'a str>) -> Option<usize> {
        let (long, value) = option.split_once('=').map_or((option, None), |(long, value)| (long, Some(value)));
        match long {
            "-" | "--ignore-environment" => self.changes.push(Change::Clear),
            "--unset" => {
                self.changes.push(Change::Unset(value.or(next.copied())?));
                return Some(if value.is_some() { 1 } else { 2 });
            }
            "--chdir" => return Some(if value.is_some() { 1 } else { 2 }),
            "--split-string" => return None,
            _ if long.starts_with("--") => {}
            _ => return self.letters_of_env(option.get(1..)?, next.copied()),
        }
        Some(1)
    }

    fn letters_of_env(&mut self, letters: &'a str, next: Option<&'a str>) -> Option<usize> {
        for (at, letter) in letters.char_indices() {
            let rest = letters.get(at + letter.len_utf8()..).filter(|rest| !rest.is_empty());
            match letter {
                'i' => self.changes.push(Change::Clear),
                'u' => self.changes.push(Change::Unset(rest.or(next)?)),
                'S' => return None,
                _ => {}
            }
            if matches!(letter, 'u' | 'C') {
                return Some(if rest.is_some() { 1 } else { 2 });
            }
        }
        Some(1)
    }

    /// What the shell at this word runs. Its options may be in one word or in several, `c` among them anywhere; the script is
    /// the first word behind all of them.
    fn shell(&mut self, words: &[&'a str], shell: usize) -> Program {
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
            let with_value = letters.chars().filter(|letter| WITH_VALUE.contains(letter)).count();
            let values = words.get(at..at + with_value).unwrap_or_default();
            self.exports_all |= sign == '-' && (letters.contains('a') || values.contains(&"allexport"));
            at += with_value;
        }
        match (script, words.get(at)) {
            (true, Some(_)) => Program::Script(at),
            (false, Some(_)) => Program::ScriptFile(at),
            (_, None) => Program::Other(shell),
        }
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
            ("env -i -uC --unset=D -C /x - A=b etcd --a", Program::Etcd(9)),
            ("env -S etcd", Program::Other(0)),
            ("exec -a name etcd --a", Program::Etcd(4)),
            ("command etcd --a", Program::Etcd(2)),
            ("command -v etcd", Program::Other(0)),
            ("gosu etcd etcd --a", Program::Etcd(3)),
            ("nice -n 5 ionice -c 2 etcd", Program::Etcd(7)),
            ("timeout -k 5 9 etcd", Program::Etcd(5)),
            ("taskset -c 0-3 etcd --a", Program::Etcd(4)),
            ("chrt -f 10 taskset 0x3 /bin/etcd", Program::Etcd(6)),
            ("chrt -d -T 5 0 etcd", Program::Etcd(6)),
            ("chrt -i etcd --a", Program::Other(3)),
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

    #[test]
    fn what_is_done_to_the_environment_on_the_way() {
        fn changes(words: &str) -> Vec<Change<'_>> {
            launch(&words.split(' ').collect::<Vec<_>>(), true).changes
        }
        assert_eq!(
            changes("env A=b -u C --unset=D tini -- env -i E=f=g etcd A=x"),
            [Change::Set("A", "b"), Change::Unset("C"), Change::Unset("D"), Change::Clear, Change::Set("E", "f=g"),]
        );
        for clears in
            ["env - etcd", "env -vi etcd", "env --ignore-environment etcd", "exec -c etcd", "setpriv --reset-env etcd"]
        {
            assert_eq!(changes(clears), [Change::Clear], "{clears}");
        }
        for exports in ["sh -ac S", "sh -a -c S", "bash -o allexport -c S", "bash -ceo allexport S"] {
            assert!(launch(&exports.split(' ').collect::<Vec<_>>(), true).exports_all, "{exports}");
        }
        assert!(!launch(&["bash", "-o", "pipefail", "-c", "S"], true).exports_all);
    }

    #[test]
    fn a_program_without_a_folder_is_looked_for() {
        assert_eq!(places("/a/etcd", Some("/b")), ["/a/etcd"]);
        let places = places("etcd", Some("/cfg:bin:/opt/bin"));
        assert_eq!(places[..3], ["/cfg/etcd", "/opt/bin/etcd", "/usr/local/sbin/etcd"]);
        assert_eq!(places.len(), 8);
    }
}
