//! Prometheus and promtool, and a server of one's own.

use std::{
    fmt::Write as _,
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    files,
    harness::{eventually, free_port},
};

/// The folder with both programs; `None`, with a word about it, where there is none to be had.
pub(crate) fn found(test: &str) -> Option<&'static Path> {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let output =
            Command::new(files::root().join("scripts/prometheus.sh")).output().expect("scripts/prometheus.sh runs");
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(said(&output.stdout).into()) } else { Err(said(&output.stderr)) }
    });
    match found {
        Ok(dir) => Some(dir),
        Err(why) => {
            let required = std::env::var("ETCD_DEFRAG_PROMETHEUS").is_ok_and(|value| value == "required");
            assert!(!required, "ETCD_DEFRAG_PROMETHEUS is \"required\": {why}");
            println!("SKIPPED: {test}: {why}");
            None
        }
    }
}

/// A command of promtool.
pub(crate) fn promtool(dir: &Path, args: &[&str], stdin: &str) -> (bool, String) {
    let mut child = Command::new(dir.join("promtool"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool starts");
    // One that does not read its input to the end says so in its status.
    let _ = child.stdin.take().expect("piped").write_all(stdin.as_bytes());
    let output = child.wait_with_output().expect("promtool ends");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// A running Prometheus with the rules of the chart; ended when dropped.
pub(crate) struct Prometheus {
    child: Child,
    port: u16,
    dir: TempDir,
}

/// Something to be scraped.
pub(crate) struct Target {
    pub(crate) url: String,
    pub(crate) labels: Value,
    /// CA, certificate and key, in PEM.
    pub(crate) tls: Option<[PathBuf; 3]>,
}

impl Prometheus {
    /// Starts one that scrapes and evaluates every second, and knows the past that is given as `OpenMetrics`.
    pub(crate) fn start(programs: &Path, targets: &[Target], past: Option<&str>) -> Self {
        let dir = TempDir::new().expect("a folder");
        let data = dir.path().join("data");
        if let Some(past) = past {
            let file = dir.path().join("past");
            fs::write(&file, past).expect("the past is written");
            let paths = [&file, &data].map(|path| path.to_str().expect("UTF-8"));
            let (done, said) =
                promtool(programs, &["tsdb", "create-blocks-from", "openmetrics", paths[0], paths[1]], "");
            assert!(done, "{said}");
        }
        let rules: Vec<PathBuf> = ["recording.yaml", "alerts.yaml"]
            .map(|name| {
                // Nothing can be waited for that long here: an alert fires as soon as its expression is true.
                let text = files::read(&files::chart(name));
                let lines =
                    text.lines().map(|line| if line.trim().starts_with("for: ") { "        for: 0s" } else { line });
                let file = dir.path().join(name);
                fs::write(&file, lines.collect::<Vec<_>>().join("\n")).expect("the rules are written");
                file
            })
            .into();
        let jobs: Vec<Value> = targets.iter().enumerate().map(|(index, target)| job(index, target)).collect();
        let config = dir.path().join("prometheus.json");
        let settings = json!({
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": rules,
            "scrape_configs": jobs,
        });
        fs::write(&config, settings.to_string()).expect("the configuration is written");
        let port = free_port();
        let log = fs::File::create(dir.path().join("log")).expect("a log");
        let child = Command::new(programs.join("prometheus"))
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", data.display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("prometheus starts");
        let started = Self { child, port, dir };
        eventually("Prometheus to become ready", Duration::from_mins(1), || {
            started.get("/-/ready").filter(|answer| answer.starts_with("HTTP/1.0 200")).map(drop)
        });
        started
    }

    fn get(&self, path: &str) -> Option<String> {
        get(self.port, path, "*/*")
    }

    fn api(&self, path: &str) -> Value {
        let answer = self.get(path).unwrap_or_else(|| panic!("Prometheus does not answer; {}", self.log()));
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{path}: {error}: {answer}"))
    }

    /// What a query comes to now; panics where Prometheus cannot evaluate it.
    pub(crate) fn query(&self, expression: &str) -> Vec<Value> {
        let answer = self.api(&format!("/api/v1/query?query={}", encoded(expression)));
        assert_eq!(answer["status"], "success", "{expression}\n{answer}");
        let result = &answer["data"]["result"];
        match answer["data"]["resultType"].as_str() {
            Some("vector") => result.as_array().cloned().unwrap_or_default(),
            _ => vec![result.clone()],
        }
    }

    /// The first value of a query, where it has one.
    pub(crate) fn value(&self, expression: &str) -> Option<f64> {
        self.query(expression).first()?["value"][1].as_str()?.parse().ok()
    }

    /// Waits until a query has data.
    pub(crate) fn wait_for(&self, expression: &str) -> Vec<Value> {
        let mut last = Vec::new();
        let what = format!("data for {expression}");
        eventually(&what, Duration::from_secs(90), || {
            last = self.query(expression);
            (!last.is_empty()).then_some(())
        });
        last
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A whole answer of a server on this machine, head included.
pub(crate) fn get(port: u16, path: &str, accept: &str) -> Option<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nAccept: {accept}\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

fn job(index: usize, target: &Target) -> Value {
    let (scheme, address) = target.url.split_once("://").expect("a URL");
    let mut job = json!({
        "job_name": index.to_string(), "scheme": scheme,
        "static_configs": [{"targets": [address], "labels": target.labels}],
    });
    if let Some([ca, certificate, key]) = &target.tls {
        job["tls_config"] = json!({"ca_file": ca, "cert_file": certificate, "key_file": key});
    }
    job
}

fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut all, byte| {
        let _ = write!(all, "%{byte:02X}");
        all
    })
}
