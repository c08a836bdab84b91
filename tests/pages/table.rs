//! Each command of the pages that a newcomer or a person in an emergency copies from, and how it is run.

use std::{collections::BTreeSet, path::Path};

use harness::pages::{Ended, Printed, Shell, commands};

pub(crate) const README: &str = "README.md";
pub(crate) const INSTALL: &str = "docs/install.md";
pub(crate) const BREAK_GLASS: &str = "docs/break-glass.md";

/// How a command is run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// Without a cluster, by `tests/pages`.
    Offline,
    /// On a real node, by `tests/install/pages.rs`.
    Node,
    /// Not as it is printed, and why.
    NotRun(&'static str),
}

/// A command by its beginning: it covers those that go on after it, unless another row has more of their words.
pub(crate) struct Row {
    pub(crate) page: &'static str,
    pub(crate) beginning: &'static str,
    pub(crate) how: How,
}

const fn row(page: &'static str, beginning: &'static str, how: How) -> Row {
    Row { page, beginning, how }
}

const NAME: How = How::NotRun("the name of a command, without its arguments");
const IMAGE: How = How::NotRun("the node of the tests imports the archive that scripts/image.sh makes");

pub(crate) const ROWS: &[Row] = &[
    row(README, "make demo", How::NotRun("takes a control plane and a node of its own; its recording is made with it")),
    row(README, "make test", How::NotRun("it would run itself")),
    row(README, "cargo run -- render", How::Offline),
    row(README, "cargo run -- check", How::Offline),
    row(README, "archive=$(make image)", IMAGE),
    row(README, "kind load image-archive \"$archive\"", How::NotRun("needs kind, and a container runtime for it")),
    row(README, "crane push \"$archive\"", How::NotRun("registry.example is the reader's registry")),
    row(README, "helm install etcd-defrag-webhook", How::Node),
    row(README, "helm test --namespace etcd-defrag-system", How::Node),
    row(README, "helm test", NAME),
    row(README, "kubectl label statefulset", How::Node),
    row(README, "cargo run -- status -A", How::Node),
    row(README, "cargo install", How::NotRun("a release build of some minutes; the release builds the same program")),
    row(README, "talosctl etcd defrag", How::NotRun("for a cluster that is not ours")),
    row(README, "kubectl annotate statefulset", How::Node),
    row(README, "kubectl delete --cascade=orphan", NAME),
    row(README, "make compare", How::NotRun("a measurement of ten minutes; examples/compare has tests of its own")),
    row(README, "etcd-defrag-webhook check -f manifests/", How::Offline),
    row(README, "etcd-defrag-webhook status -A", How::Node),
    row(INSTALL, "make image", IMAGE),
    row(INSTALL, "docker load", NAME),
    row(INSTALL, "podman load", NAME),
    row(INSTALL, "kind load image-archive", NAME),
    row(INSTALL, "crane push", NAME),
    row(INSTALL, "etcd-defrag-webhook version", How::Offline),
    row(INSTALL, "helm install etcd-defrag-webhook", How::Node),
    row(INSTALL, "helm install", NAME),
    row(INSTALL, "helm test --namespace etcd-defrag-system", How::Node),
    row(INSTALL, "helm test", NAME),
    row(INSTALL, "etcd-defrag-webhook selftest", How::Node),
    row(INSTALL, "kubectl apply -k deploy/manifests", How::Node),
    row(INSTALL, "kubectl wait --for=condition=Established", How::Node),
    row(INSTALL, "kubectl apply -f deploy/manifests/50-default-policy.yaml", How::Node),
    row(INSTALL, "kubectl -n etcd-defrag-system rollout status", How::Node),
    row(INSTALL, "kubectl get statefulset", How::Node),
    row(INSTALL, "kubectl label statefulset", How::Node),
    row(INSTALL, "kubectl wait --for=create", How::Node),
    row(INSTALL, "etcd-defrag-webhook status -A", How::Node),
    row(INSTALL, "kubectl apply -f deploy/manifests/40-admission-policy.yaml", How::Node),
    row(
        INSTALL,
        "etcd-defrag-webhook vap",
        How::NotRun("FILE is the reader's; tests/e2e/vap.rs applies what it prints"),
    ),
    row(
        INSTALL,
        "helm upgrade",
        How::NotRun("with the reader's values; tests/install/lifecycle.rs and tests/upgrade upgrade"),
    ),
    row(INSTALL, "helm rollback", How::NotRun("its revision is the reader's; tests/upgrade/helm.rs rolls back")),
    row(INSTALL, "helm uninstall", How::Node),
    row(INSTALL, "kubectl delete cronjob -A", How::Node),
    row(INSTALL, "kubectl delete crd", How::Node),
    row(INSTALL, "kubectl annotate", NAME),
    row(INSTALL, "kubectl label", NAME),
    row(INSTALL, "kubectl delete namespace", How::Node),
    row(INSTALL, "kubectl delete validatingwebhookconfiguration,mutatingwebhookconfiguration", How::Node),
    row(INSTALL, "kubectl delete -f", How::Node),
    row(INSTALL, "kubectl delete -k", How::Node),
    row(
        BREAK_GLASS,
        "kubectl delete statefulset NAME",
        How::NotRun("NAME is the reader's; tests/e2e/orphans.rs runs it"),
    ),
    row(BREAK_GLASS, "kubectl delete validatingwebhookconfiguration,mutatingwebhookconfiguration", How::Node),
    row(BREAK_GLASS, "etcd-defrag-webhook selftest", How::Node),
    row(BREAK_GLASS, "helm upgrade etcd-defrag-webhook", How::Node),
    row(BREAK_GLASS, "helm test", How::Node),
    row(BREAK_GLASS, "kubectl apply -f deploy/manifests/30-webhooks.yaml", How::Node),
    row(BREAK_GLASS, "kubectl -n etcd-defrag-system get pods,secret", How::Node),
    row(BREAK_GLASS, "kubectl -n etcd-defrag-system get certificate", How::Node),
    row(BREAK_GLASS, "kubectl -n etcd-defrag-system logs", How::Node),
    row(BREAK_GLASS, "kubectl get validatingwebhookconfiguration", How::Node),
    row(BREAK_GLASS, "kubectl describe certificate", NAME),
    row(BREAK_GLASS, "etcd-defrag-webhook pause", How::Node),
    row(BREAK_GLASS, "etcd-defrag-webhook resume", How::Node),
    row(BREAK_GLASS, "kubectl -n etcd-defrag-system create configmap", How::Node),
    row(BREAK_GLASS, "kubectl -n etcd-defrag-system delete configmap", How::Node),
    row(BREAK_GLASS, "etcd-defrag-webhook status", How::Node),
    row(BREAK_GLASS, "kubectl patch cronjob NAME", How::NotRun("NAME is a CronJob of defrag.sh, which is not ours")),
    row(BREAK_GLASS, "kubectl delete job", NAME),
    row(BREAK_GLASS, "kubectl delete cronjob -A", How::Node),
];

/// The row of a command: of those that it begins with, the one with the most words.
pub(crate) fn row_of(page: &str, text: &str) -> Option<&'static Row> {
    let covers = |row: &&Row| {
        let rest = text.strip_prefix(row.beginning);
        row.page == page && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace))
    };
    ROWS.iter().filter(covers).max_by_key(|row| row.beginning.len())
}

/// A person who follows a page: runs its commands as they are printed.
pub(crate) struct Reader {
    page: &'static str,
    how: How,
    shell: Shell,
    commands: Vec<Printed>,
    done: BTreeSet<&'static str>,
}

impl Reader {
    pub(crate) fn new(page: &'static str, how: How, shell: Shell) -> Self {
        Self { page, how, shell, commands: commands(page), done: BTreeSet::new() }
    }

    /// The same person in another folder.
    #[allow(dead_code, reason = "a node is installed to from the sources")]
    pub(crate) fn in_folder(mut self, folder: &Path) -> Self {
        self.shell = self.shell.in_folder(folder);
        self
    }

    /// The command of the page that has this row.
    #[track_caller]
    pub(crate) fn printed(&self, beginning: &str) -> &Printed {
        let is_of_row =
            |command: &&Printed| row_of(self.page, &command.text).is_some_and(|row| row.beginning == beginning);
        let found: Vec<&Printed> = self.commands.iter().filter(is_of_row).collect();
        let Some((&first, others)) = found.split_first() else { panic!("{} has no command {beginning:?}", self.page) };
        assert!(
            others.iter().all(|other| other.text == first.text),
            "{beginning:?} are different commands: {found:#?}"
        );
        first
    }

    /// Runs it, whether it succeeds or not.
    #[track_caller]
    pub(crate) fn try_run(&mut self, beginning: &'static str) -> Ended {
        let text = self.printed(beginning).text.clone();
        let row = row_of(self.page, &text).unwrap_or_else(|| panic!("no row"));
        assert!(row.how == self.how, "{}: {beginning:?} is not run here by the table", self.page);
        self.done.insert(row.beginning);
        let begun = std::time::Instant::now();
        let ended = self.shell.run(&text);
        println!("$ {text}\n{}({:.1} s, exit {:?})", ended.said, begun.elapsed().as_secs_f64(), ended.code);
        ended
    }

    /// Runs it; it has to succeed. Returns what it says.
    #[track_caller]
    pub(crate) fn run(&mut self, beginning: &'static str) -> String {
        let ended = self.try_run(beginning);
        assert_eq!(ended.code, Some(0), "{}: {beginning}: {}", self.page, ended.said);
        ended.said
    }

    /// Every command that the table gives to this kind of test was run.
    #[track_caller]
    pub(crate) fn end(self) {
        let rows = ROWS.iter().filter(|row| row.page == self.page && row.how == self.how);
        let left: Vec<&str> = rows.map(|row| row.beginning).filter(|row| !self.done.contains(row)).collect();
        assert!(left.is_empty(), "{}: not run: {left:?}", self.page);
    }
}
