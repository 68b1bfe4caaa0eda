//! metrics, printed and over HTTP.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};

use crate::support::{Name, WorkerProcess, command, eventually, seqcast};

/// Parses the text format as OpenMetrics specifies it, and rejects what the specification forbids.
fn parse(text: &str) -> BTreeMap<String, f64> {
    let mut families = BTreeSet::new();
    let mut values = BTreeMap::new();
    let (mut family, mut suffix, mut described) = (String::new(), "", String::new());
    let text = text.strip_suffix("# EOF\n").unwrap_or_else(|| panic!("no end: {text}"));
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(help.ends_with('.'), "{line}");
            described = name.to_owned();
            continue;
        }
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(families.insert(name.to_owned()), "the type of {name} appears twice");
            suffix = match kind {
                "counter" => "_total",
                "gauge" => "",
                _ => panic!("{line}"),
            };
            assert!(!name.ends_with("_total") && name == described, "{line}");
            family = name.to_owned();
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap();
        assert!(*name == format!("{family}{suffix}"), "{line} is not with its type and help");
        assert!(name.starts_with("seqcast_") && labels.ends_with('}'), "{line}");
        for unit in ["_ms", "_ns", "_kb", "_percent"] {
            assert!(!name.contains(unit), "{name} is not in a base unit");
        }
        let before = values.insert(series.to_owned(), value.parse().unwrap());
        assert!(before.is_none(), "{series} appears twice");
    }
    values
}

/// The label names of all series.
fn labels(values: &BTreeMap<String, f64>) -> BTreeSet<&str> {
    let lists = values.keys().filter_map(|series| series.split_once('{')?.1.strip_suffix('}'));
    lists.flat_map(|list| list.split(',').filter_map(|label| Some(label.split_once('=')?.0))).collect()
}

#[test]
fn metrics_are_in_the_text_format_and_of_all_workers() {
    let (name, _bus) = Name::segment("metrics");
    let mut web = WorkerProcess::join(&name, "web");
    let mut mailer = WorkerProcess::join(&name, "mailer");
    web.told("posts 10");
    web.told("poll");
    mailer.told("unique nightly 60000");
    mailer.told("claim alone 60000");
    WorkerProcess::join(&name, "doomed").kill();
    let values = parse(&seqcast(&["metrics", &name]).expect(0).stdout);
    let of = |metric: &str, more: &str| values[&format!("{metric}{{segment=\"{}\"{more}}}", &*name)];
    assert_eq!(of("seqcast_up", ""), 1.0);
    assert_eq!(of("seqcast_ids_total", ""), 14.0);
    assert_eq!(of("seqcast_ring_capacity_events", ""), 64.0);
    assert_eq!(of("seqcast_claims_held", ""), 1.0);
    // Both are behind, and slow when they have been silent for five seconds.
    let living = ["ok", "slow"].map(|state| of("seqcast_workers", &format!(",state=\"{state}\"")));
    assert_eq!(living.iter().sum::<f64>(), 2.0);
    assert_eq!(of("seqcast_workers", ",state=\"dead\""), 1.0);
    assert_eq!(of("seqcast_worker_posted_total", ",seat=\"0\",label=\"web\""), 11.0);
    assert_eq!(of("seqcast_worker_delivered_total", ",seat=\"0\",label=\"web\""), 12.0);
    assert_eq!(of("seqcast_worker_lag_events", ",seat=\"1\",label=\"mailer\""), 13.0);
    assert_eq!(of("seqcast_worker_claims_won_total", ",seat=\"1\",label=\"mailer\""), 1.0);
    assert!(!values.keys().any(|series| series.contains("doomed")), "dead workers have their own series");
    assert_eq!(labels(&values), BTreeSet::from(["segment", "seat", "label", "state"]));
    let json = seqcast(&["metrics", &name, "--format", "json"]).expect(0).json();
    assert_eq!(json["metrics"].as_array().unwrap().len(), values.len());
}

/// A running `seqcast metrics --listen`.
struct Exporter {
    child: Child,
    address: String,
}

impl Exporter {
    fn start(name: &str) -> Exporter {
        let mut child = command(&["metrics", name, "--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim_end().strip_prefix("listening at http://").unwrap().strip_suffix("/metrics").unwrap();
        Exporter { address: address.to_owned(), child }
    }

    /// Returns the head and the body of the answer. Asks again if the exporter had no time to answer before its
    /// deadline.
    fn ask(&self, request: &str) -> (String, String) {
        let mut answer = String::new();
        eventually("an answer", || {
            answer.clear();
            let mut connection = TcpStream::connect(&self.address).unwrap();
            let asked = connection.write_all(request.as_bytes());
            asked.and_then(|()| connection.read_to_string(&mut answer)).is_ok() && !answer.is_empty()
        });
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
        (head.to_owned(), body.to_owned())
    }

    fn scrape(&self) -> BTreeMap<String, f64> {
        let (head, body) = self.ask("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        let head = head.to_ascii_lowercase();
        assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"), "{head}");
        assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
        parse(&body)
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn metrics_are_served_on_loopback() {
    let (name, bus) = Name::segment("listen");
    let mut worker = WorkerProcess::join(&name, "web");
    let exporter = Exporter::start(&name);
    let ids = format!("seqcast_ids_total{{segment=\"{}\"}}", &*name);
    assert_eq!(exporter.scrape()[&ids], 1.0);
    worker.told("posts 4");
    assert_eq!(exporter.scrape()[&ids], 5.0);
    for (request, status) in [
        ("GET /metrics?x=1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", "200 OK"),
        ("GET / HTTP/1.1\r\nHost: localhost:9464\r\n\r\n", "200 OK"),
        ("GET /other HTTP/1.1\r\nHost: localhost\r\n\r\n", "404 Not Found"),
        ("GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n", "421 Misdirected Request"),
        ("POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n", "405 Method Not Allowed"),
        ("\x16\x03\x01\r\n\r\n", "400 Bad Request"),
    ] {
        let (head, _) = exporter.ask(request);
        assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request:?}: {head}");
    }
    assert_eq!(exporter.ask("HEAD /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").1, "");
    // Removed and created again: the exporter follows.
    bus.unlink().unwrap();
    assert_eq!(exporter.scrape(), BTreeMap::from([(format!("seqcast_up{{segment=\"{}\"}}", &*name), 0.0)]));
    let _bus = crate::support::small().create(&name).unwrap();
    assert_eq!(exporter.scrape()[&ids], 0.0);
}

#[test]
fn clients_that_say_nothing_keep_nobody_out() {
    let (name, _bus) = Name::segment("silent");
    let exporter = Exporter::start(&name);
    // More clients than are served at once.
    let mut silent: Vec<TcpStream> = (0..200).map(|_| TcpStream::connect(&exporter.address).unwrap()).collect();
    for _ in 0..3 {
        exporter.scrape();
    }
    // The oldest was dropped, and the others end at their deadline.
    for connection in &mut silent {
        let mut answer = Vec::new();
        let ended = connection.read_to_end(&mut answer);
        assert!(ended.is_err() || answer.is_empty(), "{answer:?}");
    }
    // A request without an end is cut off.
    let mut endless = TcpStream::connect(&exporter.address).unwrap();
    let sent = (0..1 << 10).try_for_each(|_| endless.write_all(&[b'x'; 1 << 10]));
    let mut answer = Vec::new();
    let ended = endless.read_to_end(&mut answer);
    assert!(sent.is_err() || ended.is_err() || answer.starts_with(b"HTTP/1.1 4"), "{answer:?}");
    assert_eq!(exporter.scrape().len(), parse(&seqcast(&["metrics", &name]).expect(0).stdout).len());
}
