//! The original: lua-resty-worker-events on nginx with its Lua module, with two pinned nginx workers that post and poll
//! in tight loops. The user gives the path of its source in `LUA_WORKER_EVENTS`; none of it is here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::redis::ended_with_us;
use crate::scratch::Directory;
use crate::support::batch::{Batch, Flow};

const SCRIPT: &str = include_str!("lua/bench.lua");
const CONFIG: &str = include_str!("lua/nginx.conf");

/// The results of one run of nginx.
pub struct Found {
    pub one_way: Batch,
    pub flow: Batch,
}

/// Returns the path of the original, or the reason why it cannot be run.
pub fn source() -> Result<PathBuf, String> {
    let root = std::env::var_os("LUA_WORKER_EVENTS")
        .map(PathBuf::from)
        .ok_or("LUA_WORKER_EVENTS does not say where a checkout of lua-resty-worker-events is")?;
    if !root.join("lib/resty/worker/events.lua").is_file() {
        return Err(format!("{} has no lib/resty/worker/events.lua", root.display()));
    }
    for needed in ["/usr/lib/nginx/modules/ngx_http_lua_module.so", "/usr/lib/nginx/modules/ndk_http_module.so"] {
        if !Path::new(needed).exists() {
            return Err(format!("{needed} is missing: apt-get install nginx libnginx-mod-http-lua lua-cjson"));
        }
    }
    Ok(root)
}

/// Runs it once: payloads of `size` bytes, for about `time` each for latency and throughput.
pub fn run(root: &Path, size: usize, time: Duration) -> Result<Found, String> {
    let directory = Directory::new();
    let path = |name: &str| directory.0.join(name).display().to_string();
    fs::write(path("bench.lua"), SCRIPT).map_err(|error| error.to_string())?;
    let root = root.canonicalize().map_err(|error| error.to_string())?;
    let config = CONFIG
        .replace("@DIRECTORY@", &directory.0.display().to_string())
        .replace("@SOURCE@", &root.display().to_string())
        .replace("@SIZE@", &size.to_string())
        .replace("@SECONDS@", &time.as_secs_f64().to_string());
    fs::write(path("nginx.conf"), config).map_err(|error| error.to_string())?;
    let mut command = Command::new("/usr/sbin/nginx");
    command.args(["-p", &path(""), "-c", &path("nginx.conf"), "-e", &path("error.log")]);
    let mut nginx = ended_with_us(&mut command)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("nginx: {error}"))?;
    let done = directory.0.join("done");
    let deadline = Instant::now() + time * 4 + Duration::from_secs(10);
    while !done.exists() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    // SAFETY: our child, not yet waited for. The master ends its workers.
    unsafe { libc::kill(nginx.id() as libc::pid_t, libc::SIGTERM) };
    let _ = nginx.wait();
    if !done.exists() {
        let log = fs::read_to_string(path("error.log")).unwrap_or_default();
        let why = log.lines().find(|line| line.contains("[error]") || line.contains("[emerg]")).unwrap_or("");
        return Err(format!("nginx was not done in time; its log: {why}"));
    }
    let text = fs::read_to_string(path("result")).map_err(|error| error.to_string())?;
    let numbers = |key: &str| -> Vec<f64> {
        let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or("");
        line.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect()
    };
    let flow = numbers("flow:");
    let [posted, post_ns, received, receive_ns] = flow[..] else { return Err("nginx gave no throughput".to_owned()) };
    let missed = (posted - received).max(0.0) as u64;
    Ok(Found {
        one_way: Batch::Times(numbers("round-trips:").into_iter().map(|ns| ns / 2.0).collect(), 1.0),
        flow: Batch::Flow(Flow {
            posted: vec![(posted as u64, post_ns)],
            received: vec![(received as u64, missed, receive_ns)],
        }),
    })
}
