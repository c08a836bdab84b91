//! A real Prometheus on this machine, with promtool.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{EtcdPods, eventually, free_port, helm::chart, run};

/// The folder with both programs, by `scripts/prometheus.sh`; `None`, with a word about it, where there is none to be had.
///
/// With `ETCD_DEFRAG_PROMETHEUS=required` that is a failure instead.
pub fn found(test: &str) -> Option<&'static Path> {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/prometheus.sh");
        let output = run(Command::new(script), None);
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(said(&output.stdout).into()) } else { Err(said(&output.stderr)) }
    });
    match found {
        Ok(dir) => Some(dir),
        Err(why) => {
            let required = std::env::var_os("ETCD_DEFRAG_PROMETHEUS").is_some_and(|value| value == "required");
            assert!(!required, "{test}: ETCD_DEFRAG_PROMETHEUS=required: {why}");
            println!("SKIPPED: {test}: {why}");
            None
        }
    }
}

/// A command of promtool: whether it succeeded, and what it said.
pub fn promtool(programs: &Path, args: &[&str], stdin: &str) -> (bool, String) {
    let mut command = Command::new(programs.join("promtool"));
    command.args(args);
    let output = run(command, Some(stdin));
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// How to run it.
#[derive(Debug)]
pub struct PrometheusOptions {
    /// What it scrapes, as in its configuration: `scrape_configs`.
    pub jobs: Vec<Value>,
    /// Seconds between two scrapes, and between two evaluations of the rules.
    pub interval: u32,
    /// Whether it has the rules of the chart. An alert fires as soon as its expression is true: no test waits a quarter of an
    /// hour, so each `for` of the shipped file becomes `0s`, and nothing else in it is changed.
    pub rules: bool,
    /// What it knows of the time before it started, as `OpenMetrics`.
    pub past: Option<String>,
}

impl Default for PrometheusOptions {
    /// Scrapes nothing, each second, with the rules of the chart.
    fn default() -> Self {
        Self { jobs: Vec::new(), interval: 1, rules: true, past: None }
    }
}

/// Something to be scraped.
pub struct Target {
    pub url: String,
    pub labels: Value,
    /// CA, certificate and key, in PEM.
    pub tls: Option<[PathBuf; 3]>,
}

impl Target {
    /// One of this machine, under its own labels only.
    pub fn local(port: u16) -> Self {
        Self { url: format!("http://127.0.0.1:{port}"), labels: json!({}), tls: None }
    }

    fn job(&self, name: usize) -> Value {
        let (scheme, address) = self.url.split_once("://").unwrap_or_else(|| panic!("{} is no URL", self.url));
        let mut job = json!({
            "job_name": name.to_string(), "scheme": scheme,
            "static_configs": [{"targets": [address], "labels": self.labels}],
        });
        if let Some(tls) = &self.tls {
            job["tls_config"] = tls_config(tls);
        }
        job
    }
}

fn tls_config([ca, certificate, key]: &[PathBuf; 3]) -> Value {
    json!({"ca_file": ca, "cert_file": certificate, "key_file": key})
}

/// A scrape job for each target.
pub fn jobs_of(targets: &[Target]) -> Vec<Value> {
    targets.iter().enumerate().map(|(index, target)| target.job(index)).collect()
}

/// A scrape job for the metrics of each member, labelled by relabelling as docs/monitoring.md says. Debian's Prometheus is built
/// without the discovery of Kubernetes: what that would find is given to it, under the same names.
pub fn job_of_pods(etcds: &[&EtcdPods<'_>]) -> Value {
    let found = |pods: &&EtcdPods<'_>| {
        let found = |(pod, address): (String, String)| {
            json!({
                "targets": [format!("{address}:2381")],
                "labels": {"__meta_kubernetes_namespace": pods.namespace(), "__meta_kubernetes_pod_name": pod},
            })
        };
        pods.addresses().into_iter().map(found).collect::<Vec<_>>()
    };
    json!({
        "job_name": "pods", "static_configs": etcds.iter().flat_map(found).collect::<Vec<_>>(),
        "relabel_configs": [
            {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
            {"source_labels": ["__meta_kubernetes_pod_name"], "target_label": "pod"},
        ],
    })
}

/// A running Prometheus; ended when dropped. The folder and the arguments stay the same from one start to the next, as those
/// of a pod do.
pub struct Prometheus {
    child: Option<Child>,
    programs: PathBuf,
    port: u16,
    dir: TempDir,
}

impl Prometheus {
    /// Starts one and waits until it is ready.
    pub fn start(programs: &Path, options: &PrometheusOptions) -> Self {
        let dir = TempDir::with_prefix("etcd-defrag-prometheus-").unwrap_or_else(|error| panic!("a folder: {error}"));
        let mut prometheus = Self { child: None, programs: programs.to_owned(), port: free_port(), dir };
        if let Some(past) = &options.past {
            let (file, data) = (prometheus.write("past", past), prometheus.data());
            let paths = [&file, &data].map(|path| path.to_string_lossy());
            let args = ["tsdb", "create-blocks-from", "openmetrics", &paths[0], &paths[1]];
            let (done, said) = promtool(programs, &args, "");
            assert!(done, "{said}");
        }
        let rules = if options.rules { prometheus.write_rules() } else { Vec::new() };
        let interval = format!("{}s", options.interval);
        let settings = json!({
            "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
            "rule_files": rules,
            "scrape_configs": options.jobs,
        });
        prometheus.write("prometheus.json", &settings.to_string());
        prometheus.resume();
        prometheus
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let file = self.dir.path().join(name);
        fs::write(&file, text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        file
    }

    /// See [`PrometheusOptions::rules`].
    fn write_rules(&self) -> Vec<PathBuf> {
        let write = |name: &str| {
            let shipped = chart().join("files").join(name);
            let text = fs::read_to_string(&shipped).unwrap_or_else(|error| panic!("{}: {error}", shipped.display()));
            let at_once = |line| if str::trim(line).starts_with("for: ") { "        for: 0s" } else { line };
            self.write(name, &text.lines().map(at_once).collect::<Vec<_>>().join("\n"))
        };
        ["recording.yaml", "alerts.yaml"].map(write).into()
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Starts it, with the data that it had, and waits until it is ready.
    pub fn resume(&mut self) {
        let file = self.dir.path().join("log");
        let log = File::create(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let child = Command::new(self.programs.join("prometheus"))
            .arg(format!("--config.file={}", self.dir.path().join("prometheus.json").display()))
            .arg(format!("--storage.tsdb.path={}", self.data().display()))
            .arg(format!("--web.listen-address=127.0.0.1:{}", self.port))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("prometheus: {error}"));
        let child = self.child.insert(child);
        let (port, mut ended) = (self.port, || child.try_wait().ok().flatten());
        eventually("Prometheus to become ready", Duration::from_mins(1), || {
            if let Some(status) = ended() {
                panic!("prometheus ended at once ({status}):\n{}", fs::read_to_string(&file).unwrap_or_default());
            }
            get(port, "/-/ready", "*/*").filter(|answer| answer.starts_with("HTTP/1.0 200")).map(drop)
        });
    }

    /// Ends it by SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// The whole answer to a GET, head included.
    pub fn get(&self, path: &str) -> Option<String> {
        get(self.port, path, "*/*")
    }

    fn api(&self, path: &str) -> Value {
        let answer = self.get(path).unwrap_or_else(|| panic!("Prometheus does not answer; {}", self.log()));
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{path}: {error}: {answer}"))
    }

    /// What a query comes to now; panics where Prometheus cannot evaluate it.
    pub fn query(&self, expression: &str) -> Vec<Value> {
        let answer = self.api(&format!("/api/v1/query?query={}", encoded(expression)));
        assert_eq!(answer["status"], "success", "{expression}\n{answer}");
        let result = &answer["data"]["result"];
        match answer["data"]["resultType"].as_str() {
            Some("vector") => result.as_array().cloned().unwrap_or_default(),
            _ => vec![result.clone()],
        }
    }

    /// What a query comes to at each step (seconds) between two times (Unix seconds): a matrix.
    pub fn query_range(&self, expression: &str, from: i64, to: i64, step: i64) -> Vec<Value> {
        let query = encoded(expression);
        let answer = self.api(&format!("/api/v1/query_range?query={query}&start={from}&end={to}&step={step}"));
        assert_eq!(answer["status"], "success", "{expression}\n{answer}");
        answer["data"]["result"].as_array().cloned().unwrap_or_default()
    }

    /// The first value of a query, where it has one.
    pub fn value(&self, expression: &str) -> Option<f64> {
        self.query(expression).first()?["value"][1].as_str()?.parse().ok()
    }

    /// Waits until a query has data.
    pub fn wait_for(&self, expression: &str) -> Vec<Value> {
        let what = format!("data for {expression}");
        eventually(&what, Duration::from_secs(90), || Some(self.query(expression)).filter(|found| !found.is_empty()))
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A whole answer of a server on this machine, head included.
pub fn get(port: u16, path: &str, accept: &str) -> Option<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nAccept: {accept}\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut all, byte| {
        let _ = write!(all, "%{byte:02X}");
        all
    })
}
