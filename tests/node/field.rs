//! Etcds as they are in the field: what they advertise, whom they let in. Each of them runs, and the Job of its CronJob
//! defragments it, or its label is refused and the reason given.

mod member;

use std::{process::Output, thread};

use harness::{ControlPlane, ETCDCTL, Engine, EtcdPods, Fill, PodsOptions, eventually};
use serde_json::{Value, json};

use self::member::{Shape, Tls};
use super::support::{RUN, SOON, container, namespace, world};

const QUOTA: u64 = 64 << 20;
const SKIPS: &str = "--skip-healthcheck-cluster-endpoints";

/// What becomes of an etcd.
#[derive(Clone, Copy)]
enum Outcome {
    /// Its Job completes: with what kubectl warns of and the CronJob reports, and the one endpoint of the run; `NAMESPACE`
    /// stands for the namespace.
    Runs { warned: &'static str, reported: Option<&'static str>, endpoint: &'static str },
    /// Its label is refused, with these words.
    Refused(&'static [&'static str]),
}
use Outcome::{Refused, Runs};

const PLAIN: Shape = Shape {
    name: "",
    listen: "http://0.0.0.0:2379",
    advertise: "",
    tls: None,
    password: None,
    annotations: &[("free-above", "16Mi")],
};
const ONE_AUTHORITY: Tls = Tls { names: &[], two_authorities: false };
const TWO_AUTHORITIES: Tls = Tls { names: &["two-authorities.NAMESPACE.svc"], two_authorities: true };
/// What is said of each of them, since all have one member.
const OUTAGE: &str = "one member: every run is an outage";

const SHAPES: [(Shape, Outcome); 11] = [
    (
        Shape { name: "bare-name", advertise: "http://$(POD_NAME):2379", ..PLAIN },
        Runs {
            warned: "no other pod resolves that name",
            reported: Some("advertised-unreachable"),
            endpoint: "http://bare-name-0.bare-name.NAMESPACE.svc:2379",
        },
    ),
    (
        Shape { name: "loopback", advertise: "http://127.0.0.1:2379", ..PLAIN },
        Runs {
            warned: "that is another pod's own address",
            reported: Some("advertised-unreachable"),
            endpoint: "http://loopback-0.loopback.NAMESPACE.svc:2379",
        },
    ),
    (
        Shape { name: "unspecified", advertise: "http://0.0.0.0:2379", ..PLAIN },
        Runs {
            warned: "that is not an address of a member",
            reported: Some("advertised-unreachable"),
            endpoint: "http://unspecified-0.unspecified.NAMESPACE.svc:2379",
        },
    ),
    (
        Shape { name: "localhost", listen: "http://[::]:2379", advertise: "http://localhost:2379", ..PLAIN },
        Runs {
            warned: "that is another pod's own address",
            reported: Some("advertised-unreachable"),
            endpoint: "http://localhost-0.localhost.NAMESPACE.svc:2379",
        },
    ),
    (
        Shape {
            name: "pod-address",
            listen: "https://0.0.0.0:2379",
            advertise: "https://$(POD_IP):2379",
            tls: Some(Tls { names: &["pod-address.NAMESPACE.svc"], ..ONE_AUTHORITY }),
            annotations: &[("free-above", "16Mi"), ("client-secret", "pod-address-client")],
            ..PLAIN
        },
        Runs {
            warned: "no certificate has that address",
            reported: Some("advertised-unreachable"),
            endpoint: "https://pod-address-0.pod-address.NAMESPACE.svc:2379",
        },
    ),
    (
        Shape {
            name: "short-name",
            listen: "https://0.0.0.0:2379",
            advertise: "https://$(POD_NAME).short-name.NAMESPACE:2379",
            tls: Some(Tls { names: &["short-name.NAMESPACE"], ..ONE_AUTHORITY }),
            annotations: &[("free-above", "16Mi"), ("client-secret", "short-name-client")],
            ..PLAIN
        },
        Runs { warned: OUTAGE, reported: None, endpoint: "https://short-name-0.short-name.NAMESPACE:2379" },
    ),
    (
        Shape {
            name: "password-file",
            advertise: "http://$(POD_NAME).password-file.NAMESPACE.svc:2379",
            password: Some("a b$c"),
            annotations: &[
                ("free-above", "16Mi"),
                ("username-secret", "password-file-login:user=root,etcd-root-password"),
            ],
            ..PLAIN
        },
        Runs { warned: OUTAGE, reported: None, endpoint: "http://password-file-0.password-file.NAMESPACE.svc:2379" },
    ),
    (
        Shape {
            name: "password-unnamed",
            advertise: "http://$(POD_NAME).password-unnamed.NAMESPACE.svc:2379",
            password: Some("a b$c"),
            ..PLAIN
        },
        Refused(&["etcd-defrag.io/username-secret", "password-unnamed-login:user=root,etcd-root-password"]),
    ),
    (
        Shape {
            name: "two-authorities",
            listen: "https://0.0.0.0:2379",
            advertise: "https://$(POD_NAME).two-authorities.NAMESPACE.svc:2379",
            tls: Some(TWO_AUTHORITIES),
            annotations: &[("free-above", "16Mi"), ("client-secret", "two-authorities-client")],
            ..PLAIN
        },
        Runs {
            warned: "CA certificate assumed to be in Secret two-authorities-server",
            reported: Some("tls-secret-assumed"),
            endpoint: "https://two-authorities-0.two-authorities.NAMESPACE.svc:2379",
        },
    ),
    (
        Shape {
            name: "authorities-unnamed",
            listen: "https://0.0.0.0:2379",
            advertise: "https://$(POD_NAME).authorities-unnamed.NAMESPACE.svc:2379",
            tls: Some(TWO_AUTHORITIES),
            ..PLAIN
        },
        Refused(&["etcd-defrag.io/client-secret", "authorities-unnamed-clients"]),
    ),
    (
        Shape {
            name: "own-pod-only",
            listen: "http://127.0.0.1:2379",
            advertise: "http://$(POD_NAME).own-pod-only.NAMESPACE.svc:2379",
            ..PLAIN
        },
        Refused(&["listens for clients on http://127.0.0.1:2379", "no run reaches it"]),
    ),
];

#[test]
fn etcds_of_the_field_are_defragmented_or_refused_with_the_reason() {
    let Some(world) = world("etcds_of_the_field_are_defragmented_or_refused_with_the_reason") else { return };
    let node: &ControlPlane = &world.node;
    let namespace = &namespace(node, "field");
    let mut running = Vec::new();
    for (shape, outcome) in &SHAPES {
        let output = node.kubectl_stdin(["apply", "-f", "-"], &shape.manifest(namespace, QUOTA));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        match outcome {
            Refused(words) => {
                println!("{}: refused: {said}", shape.name);
                assert!(!output.status.success(), "{} is accepted: {said}", shape.name);
                for word in *words {
                    assert!(said.contains(word), "{}: nothing says {word:?}: {said}", shape.name);
                }
            }
            Runs { warned, reported, endpoint } => {
                assert!(output.status.success(), "{} is refused: {said}", shape.name);
                assert!(said.contains(warned), "{}: nothing says {warned:?}: {said}", shape.name);
                running.push((shape, *reported, endpoint.replace("NAMESPACE", namespace)));
            }
        }
    }
    thread::scope(|scope| {
        let runs: Vec<_> = running
            .iter()
            .map(|(shape, reported, endpoint)| {
                scope.spawn(|| Run::of(node, namespace, shape).look(*reported, endpoint))
            })
            .collect();
        let failed: Vec<String> =
            runs.into_iter().filter_map(|run| run.join().expect("a thread that ends").err()).collect();
        assert!(failed.is_empty(), "{}", failed.join("\n\n"));
    });
}

/// An etcd that runs.
struct Run<'a> {
    plane: &'a ControlPlane,
    shape: &'a Shape,
    pods: EtcdPods<'a>,
}

impl<'a> Run<'a> {
    fn of(node: &'a ControlPlane, namespace: &str, shape: &'a Shape) -> Self {
        let options = PodsOptions { name: shape.name.to_owned(), members: 1, tls: false, ..PodsOptions::default() };
        Self { plane: node, shape, pods: EtcdPods::new(node, namespace, options) }
    }

    /// Fills the etcd, has it defragmented by a Job of its CronJob, and says what is not as it should be.
    fn look(&self, reported: Option<&str>, endpoint: &str) -> Result<(), String> {
        let name = self.shape.name;
        eventually(&format!("{name} to answer"), RUN, || {
            self.etcdctl(&["endpoint", "health"]).status.success().then_some(())
        });
        self.log_in();
        let fill = Fill::small_to(QUOTA, 40);
        let (keys, size, keep) =
            (format!("--keys={}", fill.keys), format!("--size={}", fill.size), format!("--keep={}", fill.keep));
        let filled = self.client(&["etcd-load", "fill", &keys, &size, &keep, "--compact=true", "--until-full=false"]);
        assert!(filled.status.success(), "{name}: {}", String::from_utf8_lossy(&filled.stderr));
        let before = self.size();
        let cronjob = self.pods.cronjob();
        let args = container(&cronjob)["args"].to_string();
        let skips = reported == Some("advertised-unreachable");
        let wrong = |what: &str| Err(format!("{name}: {what}: {args}"));
        if !args.contains(&format!("\"--endpoints={endpoint}\"")) {
            return wrong("another endpoint");
        }
        if args.contains(SKIPS) != skips {
            return wrong("the first health check");
        }
        if let Some(code) = reported {
            eventually(&format!("the CronJob of {name} to report {code}"), SOON, || {
                let findings = self.pods.cronjob()["metadata"]["annotations"]["etcd-defrag.io/findings"].to_string();
                findings.contains(code).then_some(())
            });
        }
        // Our own runner reaches nobody but the endpoints that it is given.
        if skips && Engine::here() == Engine::EtcdDefrag && self.succeeds_without_skipping() {
            return wrong("the first health check finds what is advertised");
        }
        // All of them are in one namespace.
        let job = format!("{name}-by-hand");
        self.pods.create_job(&job);
        let end = self.pods.job_end(&job, RUN);
        let (log, after) = (self.pods.job_log(&job), self.size());
        println!("{name}: {} KiB before, {} KiB after", before >> 10, after >> 10);
        if !end.succeeded || after >= before / 2 {
            return Err(format!("{name}: {end:?}, {before} bytes before, {after} after\n{log}"));
        }
        let runs = self.pods.defragmentations();
        if runs.len() != 1 || runs.iter().any(|run| run.to.is_none()) {
            return Err(format!("{name}: not defragmented once: {runs:?}\n{log}"));
        }
        Ok(())
    }

    /// Whether a run succeeds whose first health check dials what the members advertise.
    fn succeeds_without_skipping(&self) -> bool {
        let (job, namespace) = (format!("{}-unskipped", self.shape.name), self.pods.namespace());
        let from = format!("--from=cronjob/{}", self.pods.cronjob_name());
        let text =
            self.plane.kubectl_ok(&["-n", namespace, "create", "job", &job, &from, "--dry-run=client", "-o", "json"]);
        let mut object: Value = serde_json::from_str(&text).expect("a Job");
        let args = &mut object["spec"]["template"]["spec"]["containers"][0]["args"];
        let args = args.as_array_mut().expect("arguments");
        args.retain(|word| word != SKIPS);
        // The last one counts.
        args.push(json!("--command-timeout=5s"));
        self.plane.apply(&object.to_string());
        self.pods.job_end(&job, RUN).succeeded
    }

    /// What Bitnami's image does with the password that it is given in a file.
    fn log_in(&self) {
        let Some(password) = self.shape.password else { return };
        let user = format!("root:{password}");
        for args in [&["user", "add", &user][..], &["user", "grant-role", "root", "root"], &["auth", "enable"]] {
            let words = [ETCDCTL, args, &["--endpoints=http://127.0.0.1:2379"]].concat();
            let output = self.pods.exec(&self.shape.pod(), &words);
            assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }

    fn size(&self) -> u64 {
        let output = self.etcdctl(&["endpoint", "status", "-w", "json"]);
        assert!(output.status.success(), "{}: {}", self.shape.name, String::from_utf8_lossy(&output.stderr));
        let status: Value = serde_json::from_slice(&output.stdout).expect("a status");
        status[0]["Status"]["dbSize"].as_u64().expect("a size")
    }

    fn etcdctl(&self, args: &[&str]) -> Output {
        self.client(&[ETCDCTL, args].concat())
    }

    /// Runs a client in the pod.
    fn client(&self, command: &[&str]) -> Output {
        let access = self.shape.client();
        let words: Vec<&str> = command.iter().copied().chain(access.iter().map(String::as_str)).collect();
        self.pods.exec(&self.shape.pod(), &words)
    }
}
