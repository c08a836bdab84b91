//! The commands that a page of the documentation prints, and a shell to run them as they are printed.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

use super::{ControlPlane, binary, run};

/// What begins a command in running text; a name alone is none.
const PROGRAMS: [&str; 11] = [
    "kubectl ",
    "helm ",
    "etcd-defrag-webhook ",
    "make ",
    "kind ",
    "cargo ",
    "crane ",
    "docker ",
    "podman ",
    "etcdctl ",
    "talosctl ",
];

/// The languages of fenced blocks that have no commands. A block without a language would hide some.
const DATA: [&str; 4] = ["yaml", "json", "text", "promql"];

/// The folder of the sources, in which the commands are run.
pub fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// One command as a page prints it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Printed {
    /// The number of its line.
    pub line: usize,
    /// All of its lines, comments included.
    pub text: String,
    /// What the page says it prints, in a block `console`.
    pub output: Option<String>,
}

/// The commands of a page: each line of a block `sh`, each `$ ` line of a block `console`, and code in running text that begins
/// with a program and has an argument.
///
/// Panics where a block has another language than those that are known.
#[track_caller]
pub fn commands(page: &str) -> Vec<Printed> {
    let file = sources().join(page);
    let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    commands_of(page, &text)
}

/// The same, of a text.
#[track_caller]
pub fn commands_of(page: &str, text: &str) -> Vec<Printed> {
    let mut found: Vec<Printed> = Vec::new();
    let mut block: Option<&str> = None;
    let mut continues = false;
    for (index, line) in text.lines().enumerate() {
        let line_number = index + 1;
        if let Some(language) = line.trim_start().strip_prefix("```") {
            block = if block.is_some() { None } else { Some(language.trim()) };
            continues = false;
            continue;
        }
        match block {
            None => found.extend(in_running_text(line).map(|text| Printed { line: line_number, text, output: None })),
            Some("sh") => {
                if continues {
                    let last = found.last_mut().unwrap_or_else(|| unreachable!("a line went before"));
                    last.text.push('\n');
                    last.text.push_str(line);
                } else if !line.trim().is_empty() && !line.trim_start().starts_with('#') {
                    found.push(Printed { line: line_number, text: line.to_owned(), output: None });
                }
                continues = line.ends_with('\\');
            }
            Some("console") => match (line.strip_prefix("$ "), found.last_mut()) {
                (Some(command), _) => {
                    found.push(Printed { line: line_number, text: command.to_owned(), output: Some(String::new()) });
                }
                (None, Some(Printed { output: Some(output), .. })) => {
                    output.push_str(line);
                    output.push('\n');
                }
                (None, _) => panic!("{page}:{line_number}: a console begins with a command"),
            },
            Some(language) => {
                assert!(
                    DATA.contains(&language),
                    "{page}:{line_number}: may {language:?} have commands? sh, console, {DATA:?}"
                );
            }
        }
    }
    found
}

fn in_running_text(line: &str) -> impl Iterator<Item = String> {
    // Every other part is between backquotes.
    let code = line.split('`').skip(1).step_by(2);
    code.filter(|code| PROGRAMS.iter().any(|program| code.starts_with(program))).map(ToOwned::to_owned)
}

/// A shell of a person who has the program, `kubectl` and `helm` on `PATH`, and a checkout of the sources as the folder.
pub struct Shell {
    home: TempDir,
    folder: PathBuf,
    kubeconfig: Option<PathBuf>,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit code.
    pub code: Option<i32>,
    /// Both outputs, in their order.
    pub said: String,
}

impl Shell {
    /// One that reaches no cluster.
    pub fn offline() -> Self {
        let home = TempDir::with_prefix("etcd-defrag-shell-").unwrap_or_else(|error| panic!("{error}"));
        let shell = Self { home, folder: sources(), kubeconfig: None };
        fs::create_dir(shell.path()).unwrap_or_else(|error| panic!("{error}"));
        shell.link("etcd-defrag-webhook", &binary());
        // It would build the program again, with other features than the tests.
        let cargo = shell.path().join("cargo");
        let script = "#!/bin/sh\n[ \"$1 $2\" = 'run --' ] || exit 64\nshift 2\nexec etcd-defrag-webhook \"$@\"\n";
        fs::write(&cargo, script).unwrap_or_else(|error| panic!("{error}"));
        fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap_or_else(|error| panic!("{error}"));
        shell
    }

    /// The administrator of a control plane.
    pub fn of(plane: &ControlPlane) -> Self {
        let mut shell = Self::offline();
        for name in ["kubectl", "helm"] {
            shell.link(name, &plane.bin(name));
        }
        shell.kubeconfig = Some(plane.kubeconfig().to_owned());
        shell
    }

    /// The same in another folder.
    pub fn in_folder(mut self, folder: &Path) -> Self {
        folder.clone_into(&mut self.folder);
        self
    }

    fn path(&self) -> PathBuf {
        self.home.path().join("bin")
    }

    fn link(&self, name: &str, program: &Path) {
        symlink(program, self.path().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    }

    /// Runs a command as it is printed.
    pub fn run(&self, text: &str) -> Ended {
        let mut command = Command::new("bash");
        // A pipe fails where its first program does.
        command.args(["-o", "pipefail", "-c", &format!("exec 2>&1\n{text}")]);
        command.current_dir(&self.folder).env_clear();
        command.env("PATH", format!("{}:/usr/bin:/bin", self.path().display())).env("HOME", self.home.path());
        command.env("KUBERC", "off").env("KUBECONFIG", self.kubeconfig.as_deref().unwrap_or(Path::new("/dev/null")));
        let output = run(command, None);
        Ended { code: output.status.code(), said: String::from_utf8_lossy(&output.stdout).into_owned() }
    }
}

/// Text in one line, for a page wraps what a terminal does not.
pub fn folded(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
