//! Where the server is, and the secrets for it.

use std::fmt;
use std::time::Duration;

use redis::io::tcp::TcpSettings;
use redis::{Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, RedisError, Value, cmd};

use super::link::{meaning, text};
use crate::engine::EngineError;

const SENTINEL_PORT: u16 = 26379;

/// Secrets that are kept in files of their own. Shows none of them in its `Debug`.
#[derive(Clone, Default)]
pub struct Secrets {
    /// The password, in place of one in the URL.
    pub password: Option<String>,
    /// The certificates of the authorities to trust, in PEM form, in place of the system's.
    pub authorities: Option<Vec<u8>>,
    /// The certificate and the key that this host shows, in PEM form.
    pub certificate: Option<(Vec<u8>, Vec<u8>)>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").finish_non_exhaustive()
    }
}

/// Why a URL cannot be used. The text repeats no part of the URL that can be a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressError(String);

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for AddressError {}

/// The address of a server, or of the sentinels that know it.
#[derive(Clone)]
pub struct Address {
    kind: Kind,
    secrets: Secrets,
}

#[derive(Clone)]
enum Kind {
    Server(ConnectionInfo),
    /// `like` holds user, password, database and TLS of the server that the sentinels name.
    Sentinels {
        nodes: Vec<ConnectionAddr>,
        master: String,
        like: ConnectionInfo,
    },
}

impl Address {
    /// Reads a URL: `redis://`, `rediss://` (TLS), `redis+unix://`, or `redis+sentinel://HOST,HOST/MASTER[/DATABASE]`
    /// and `rediss+sentinel://`.
    ///
    /// # Errors
    ///
    /// If it is none of these, or needs TLS and this program is built without it.
    pub fn parse(url: &str, secrets: Secrets) -> Result<Address, AddressError> {
        let url = url.trim();
        let kind = match url.split_once("+sentinel://") {
            Some((scheme @ ("redis" | "rediss" | "valkey" | "valkeys"), rest)) => sentinels(scheme, rest)?,
            Some(_) => return Err(AddressError("a sentinel URL begins with redis+sentinel://".into())),
            None => Kind::Server(with_settings(read(url)?, &secrets)),
        };
        let kind = match kind {
            Kind::Sentinels { nodes, master, like } => {
                Kind::Sentinels { nodes, master, like: with_settings(like, &secrets) }
            }
            server @ Kind::Server(_) => server,
        };
        Ok(Address { kind, secrets })
    }

    /// Returns `true` if the URL has a password. Such a URL must not be on a command line, which other users can read.
    pub fn has_password(url: &str) -> bool {
        // What is between the scheme and the last `@`, so that a password with an `@` is found as well.
        let user = url.split_once("://").and_then(|(_, rest)| rest.rsplit_once('@')).map(|(user, _)| user);
        user.is_some_and(|user| user.contains(':')) || url.contains("pass=")
    }

    /// A client for the server, or for the server at `moved`. Sentinels are asked each time.
    pub(super) fn client(&self, moved: Option<&(String, u16)>, wait: Duration) -> Result<Client, EngineError> {
        let info = match &self.kind {
            Kind::Server(info) => info.clone(),
            Kind::Sentinels { nodes, master, like } => {
                let (host, port) = self.ask_sentinels(nodes, master, wait)?;
                at(like, host, port)
            }
        };
        let info = match moved {
            Some((host, port)) => at(&info, host.clone(), *port),
            None => info,
        };
        self.build(info).map_err(|error| meaning(&error))
    }

    fn build(&self, info: ConnectionInfo) -> Result<Client, RedisError> {
        #[cfg(not(feature = "tls"))]
        let _ = &self.secrets;
        #[cfg(feature = "tls")]
        if matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
            let Secrets { authorities, certificate, .. } = self.secrets.clone();
            let client_tls =
                certificate.map(|(client_cert, client_key)| redis::ClientTlsConfig { client_cert, client_key });
            return Client::build_with_tls(info, redis::TlsCertificates { client_tls, root_cert: authorities });
        }
        Client::open(info)
    }

    /// Asks one sentinel after the other for the master.
    fn ask_sentinels(
        &self,
        nodes: &[ConnectionAddr],
        master: &str,
        wait: Duration,
    ) -> Result<(String, u16), EngineError> {
        let mut last = EngineError::Lost("no sentinel is given".into());
        for node in nodes {
            match self.ask_sentinel(node, master, wait) {
                Ok(Some(found)) => return Ok(found),
                Ok(None) => last = EngineError::Denied(format!("the sentinel at {node} knows no master {master}")),
                Err(error) => last = meaning(&error),
            }
        }
        Err(last)
    }

    fn ask_sentinel(
        &self,
        node: &ConnectionAddr,
        master: &str,
        wait: Duration,
    ) -> Result<Option<(String, u16)>, RedisError> {
        let info = node.clone().into_connection_info()?;
        let settings = info.redis_settings().clone().set_skip_set_lib_name();
        let mut connection = self.build(info.set_redis_settings(settings))?.get_connection_with_timeout(wait)?;
        connection.set_read_timeout(Some(wait))?;
        let found = cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(master).query::<Value>(&mut connection)?;
        let Value::Array(parts) = found else { return Ok(None) };
        let mut parts = parts.iter().filter_map(text);
        let (host, port) = (parts.next(), parts.next().and_then(|port| port.parse().ok()));
        Ok(host.map(str::to_owned).zip(port))
    }
}

/// Where it is, without user and password.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Server(info) => info.addr().fmt(f),
            Kind::Sentinels { nodes, master, .. } => {
                let nodes: Vec<String> = nodes.iter().map(ToString::to_string).collect();
                write!(f, "master {master} of the sentinels {}", nodes.join(", "))
            }
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

fn read(url: &str) -> Result<ConnectionInfo, AddressError> {
    // The library's errors name the part that is wrong, and no value.
    let info = url.into_connection_info().map_err(|error| {
        let rule = "it must begin with redis://, rediss://, redis+unix:// or redis+sentinel://";
        AddressError(format!("the URL of the server cannot be used ({}); {rule}", error.category()))
    })?;
    if let ConnectionAddr::TcpTls { insecure: true, .. } = info.addr() {
        return Err(AddressError("#insecure is not supported: give the authority with --ca-file".into()));
    }
    Ok(info)
}

fn sentinels(scheme: &str, rest: &str) -> Result<Kind, AddressError> {
    let wrong = || AddressError("a sentinel URL has the form redis+sentinel://HOST:PORT,HOST:PORT/MASTER".into());
    let (login, rest) = match rest.rsplit_once('@') {
        Some((login, rest)) => (format!("{login}@"), rest),
        None => (String::new(), rest),
    };
    let (hosts, path) = rest.split_once('/').ok_or_else(wrong)?;
    let (master, database) = path.split_once('/').unwrap_or((path, ""));
    if master.is_empty() || hosts.is_empty() {
        return Err(wrong());
    }
    let like = read(&format!("{scheme}://{login}sentinel/{database}"))?;
    let mut nodes = Vec::new();
    for host in hosts.split(',') {
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let url = if has_port { format!("{scheme}://{host}") } else { format!("{scheme}://{host}:{SENTINEL_PORT}") };
        nodes.push(read(&url)?.addr().clone());
    }
    Ok(Kind::Sentinels { nodes, master: master.to_owned(), like })
}

fn with_settings(info: ConnectionInfo, secrets: &Secrets) -> ConnectionInfo {
    // Redis 7.0 does not know CLIENT SETINFO, and a rule for users would have to permit it.
    let mut settings = info.redis_settings().clone().set_skip_set_lib_name().set_protocol(ProtocolVersion::RESP2);
    if let Some(password) = &secrets.password {
        settings = settings.set_password(password);
    }
    info.set_redis_settings(settings).set_tcp_settings(TcpSettings::default().set_nodelay(true))
}

/// The same user, password, database and TLS at another place.
fn at(like: &ConnectionInfo, host: String, port: u16) -> ConnectionInfo {
    let address = match like.addr() {
        ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
            ConnectionAddr::TcpTls { host, port, insecure: *insecure, tls_params: tls_params.clone() }
        }
        _ => ConnectionAddr::Tcp(host, port),
    };
    like.clone().set_addr(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "hunter2-canary";

    #[test]
    fn urls_of_all_kinds_are_read() {
        for (url, shown) in [
            ("redis://db.example", "db.example:6379"),
            ("redis://db.example:7000/3", "db.example:7000"),
            ("redis://[::1]:7000", "::1:7000"),
            (" redis+unix:///run/redis/redis.sock?db=2\n", "/run/redis/redis.sock"),
            ("redis+sentinel://a,b:7,[::1]:9/shop", "master shop of the sentinels a:26379, b:7, ::1:9"),
            ("redis+sentinel://user:word@a/shop/2", "master shop of the sentinels a:26379"),
        ] {
            assert_eq!(Address::parse(url, Secrets::default()).unwrap().to_string(), shown, "{url}");
        }
        assert_eq!(Address::parse("rediss://db.example", Secrets::default()).is_ok(), cfg!(feature = "tls"));
        for bad in ["", "db.example", "http://db.example", "redis://", "redis+sentinel://a", "x+sentinel://a/b"] {
            assert!(Address::parse(bad, Secrets::default()).is_err(), "{bad}");
        }
    }

    #[test]
    fn no_text_shows_a_password() {
        for url in [
            format!("redis://user:{SECRET}@db.example"),
            format!("redis+unix:///run/redis.sock?pass={SECRET}"),
            format!("redis+sentinel://user:{SECRET}@a,b/shop"),
            format!("http://user:{SECRET}@db.example"),
            format!("redis://user:{SECRET}@db.example:port"),
            format!("redis://user:{SECRET}@db.example/no-number"),
            format!("redis+sentinel://user:{SECRET}@a"),
        ] {
            assert!(Address::has_password(&url), "{url}");
            let secrets = Secrets { password: Some(SECRET.into()), ..Secrets::default() };
            let shown = format!("{:?} {secrets:?}", Address::parse(&url, secrets.clone()));
            assert!(!shown.contains(SECRET), "{shown}");
            let shown = Address::parse(&url, secrets).map_or_else(|error| error.to_string(), |a| a.to_string());
            assert!(!shown.contains(SECRET), "{shown}");
        }
        for url in ["redis://db.example", "redis://user@db.example", "redis+unix:///run/a:b.sock"] {
            assert!(!Address::has_password(url), "{url}");
        }
    }
}
