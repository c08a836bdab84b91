//! A small HTTP server of a test's own, and the metrics of etcds that are not there.

use std::{
    fmt::Write as _,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

/// What a request gets: the status line's code and words, and the body.
pub type Reply = (&'static str, String);

/// A small HTTP server of a test's own: whatever is asked, a function answers it. It ends with the process.
pub struct StandIn {
    pub port: u16,
}

impl StandIn {
    /// Serves, each connection on a thread of its own. The function gets the path and the body of the request.
    pub fn start(answer: impl Fn(&str, &str) -> Reply + Send + Sync + 'static) -> Self {
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
pub struct Exported {
    pub namespace: String,
    pub pod: String,
    pub size: u64,
    pub in_use: u64,
    pub quota: u64,
    /// Whether it tells of the alarm CORRUPT.
    pub corrupt: bool,
}

/// A stand-in for the metrics of many members of etcd, on one port.
pub struct Exporter {
    pub port: u16,
    pub members: Arc<Mutex<Vec<Exported>>>,
}

impl Exporter {
    pub fn start(members: Vec<Exported>) -> Self {
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
                let corrupt = u8::from(one.corrupt);
                let _ = writeln!(text, "etcd_debugging_server_alarms{{alarm_type=\"CORRUPT\",{labels}}} {corrupt}");
            }
            ("200 OK", text)
        });
        Self { port: server.port, members }
    }
}
