//! A real Prometheus on this machine, and something for it to scrape.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use super::{eventually, free_port};

/// The folder and the arguments stay the same from one start to the next, as those of a pod do.
pub(crate) struct Prometheus {
    child: Option<Child>,
    pub(crate) port: u16,
    dir: PathBuf,
}

/// Whether there is a Prometheus, installed where this process may do that; if not, why.
pub(crate) fn prometheus_missing() -> Option<String> {
    let runs = || Command::new("prometheus").arg("--version").output().is_ok_and(|output| output.status.success());
    if runs() {
        return None;
    }
    let mut install = Command::new("apt-get");
    install.args(["install", "-y", "--no-install-recommends", "prometheus"]).env("DEBIAN_FRONTEND", "noninteractive");
    let output = install.stdin(Stdio::null()).output();
    let failed = match output {
        Ok(output) if output.status.success() && runs() => return None,
        Ok(output) => String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned(),
        Err(error) => error.to_string(),
    };
    Some(format!("prometheus is not on PATH and could not be installed: {failed}"))
}

impl Prometheus {
    /// Starts one that scrapes targets on this machine every so many seconds, and waits until it is ready.
    pub(crate) fn start(dir: &Path, interval: u32, targets: &[u16]) -> Self {
        let dir = dir.join("prometheus");
        fs::create_dir_all(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
        let mut config = format!(
            "global: {{scrape_interval: {interval}s, scrape_timeout: {interval}s}}\nscrape_configs:\n- job_name: etcd\n  \
             honor_labels: true\n  static_configs:\n  - targets: ["
        );
        for target in targets {
            let _ = write!(config, "\"127.0.0.1:{target}\",");
        }
        config += "]\n";
        let file = dir.join("prometheus.yml");
        fs::write(&file, config).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let mut prometheus = Self { child: None, port: free_port(), dir };
        prometheus.resume();
        prometheus
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Starts it again, with the data that it had.
    pub(crate) fn resume(&mut self) {
        let log = File::create(self.dir.join("prometheus.log")).unwrap_or_else(|error| panic!("{error}"));
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", self.dir.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", self.dir.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{}", self.port))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("prometheus: {error}"));
        self.child = Some(child);
        eventually("Prometheus to become ready", Duration::from_mins(1), || {
            self.get("/-/ready").filter(|answer| answer.starts_with("HTTP/1.1 200"))
        });
    }

    /// Ends it by SIGKILL.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// The whole answer to a GET, head included.
    pub(crate) fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What a request gets: the status line's code and words, and the body.
pub(crate) type Reply = (&'static str, String);

/// A small HTTP server of a test's own: whatever is asked, a function answers it. It ends with the process.
pub(crate) struct StandIn {
    pub(crate) port: u16,
}

impl StandIn {
    /// Serves, each connection on a thread of its own. The function gets the path and the body of the request.
    pub(crate) fn start(answer: impl Fn(&str, &str) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap_or_else(|error| panic!("{error}"));
        let port = listener.local_addr().unwrap_or_else(|error| panic!("{error}")).port();
        let answer = Arc::new(answer);
        thread::spawn(move || {
            for stream in listener.incoming().filter_map(Result::ok) {
                let answer = Arc::clone(&answer);
                thread::spawn(move || serve(stream, answer.as_ref()));
            }
        });
        Self { port }
    }
}

fn serve(mut stream: TcpStream, answer: &dyn Fn(&str, &str) -> Reply) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 || line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let path = first.split(' ').nth(1)?;
    let (status, text) = answer(path, &String::from_utf8_lossy(&body));
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", text.len());
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(text.as_bytes()).ok()
}

/// One member as an exporter shows it, in bytes.
#[derive(Debug, Clone)]
pub(crate) struct Exported {
    pub(crate) namespace: String,
    pub(crate) pod: String,
    pub(crate) size: u64,
    pub(crate) in_use: u64,
    pub(crate) quota: u64,
}

/// A stand-in for the metrics of many members of etcd, on one port.
pub(crate) struct Exporter {
    pub(crate) port: u16,
    pub(crate) members: Arc<Mutex<Vec<Exported>>>,
}

impl Exporter {
    pub(crate) fn start(members: Vec<Exported>) -> Self {
        let members = Arc::new(Mutex::new(members));
        let shown = Arc::clone(&members);
        let server = StandIn::start(move |_, _| {
            let members = shown.lock().unwrap_or_else(PoisonError::into_inner);
            let mut text = String::new();
            for one in members.iter() {
                let labels = format!("namespace=\"{}\",pod=\"{}\"", one.namespace, one.pod);
                let _ = writeln!(text, "etcd_mvcc_db_total_size_in_bytes{{{labels}}} {}", one.size);
                let _ = writeln!(text, "etcd_mvcc_db_total_size_in_use_in_bytes{{{labels}}} {}", one.in_use);
                let _ = writeln!(text, "etcd_server_quota_backend_bytes{{{labels}}} {}", one.quota);
            }
            ("200 OK", text)
        });
        Self { port: server.port, members }
    }
}
