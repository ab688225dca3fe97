//! `server health`: whether the service on this machine answers. A container's
//! health check runs it, in an image that has neither shell nor curl. It holds 0.9
//! MiB meanwhile, beside the service and out of the plan's slack.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, ensure};

/// The longest wait, for the connection and for each piece of the answer. The
/// Dockerfile's `--timeout` is above both together.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// What every answer begins with.
const SIGN_OF_LIFE: [u8; 9] = *b"HTTP/1.1 ";

/// Asks `/livez` of the service whose admin listener is `listen`.
///
/// Any answer will do: who answers is alive. Not `/readyz`: where the database is away, a restart does not help.
///
/// # Errors
/// Nobody there, no answer in time, or one that is not HTTP.
pub fn ask(listen: SocketAddr) -> anyhow::Result<()> {
    let address = reachable(listen);
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)
        .with_context(|| format!("nobody listens on {address}"))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let request = format!("GET /livez HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = [0; SIGN_OF_LIFE.len()];
    stream.read_exact(&mut answer).with_context(|| format!("no answer from {address}"))?;
    ensure!(answer == SIGN_OF_LIFE, "what answers on {address} is not the service");
    Ok(())
}

/// Who listens everywhere is found on loopback.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;
    use std::time::Instant;

    use super::*;

    /// Somebody who answers the first client with `answer`, and then waits for it to leave.
    fn somebody(answer: &'static [u8]) -> SocketAddr {
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            client.write_all(answer).unwrap();
            client.read_to_end(&mut Vec::new()).unwrap();
        });
        address
    }

    #[test]
    fn any_answer_is_a_sign_of_life() {
        ask(somebody(b"HTTP/1.1 200 OK\r\n\r\n")).unwrap();
        ask(somebody(b"HTTP/1.1 503 Service Unavailable\r\n\r\n")).unwrap();
    }

    #[test]
    fn silence_is_none_and_is_not_waited_for_long() {
        let begin = Instant::now();
        assert!(ask(somebody(b"")).unwrap_err().to_string().starts_with("no answer"));
        assert!(begin.elapsed() < 3 * PATIENCE, "{:?}", begin.elapsed());
    }

    #[test]
    fn another_protocol_is_not_the_service() {
        assert!(ask(somebody(b"SSH-2.0-x\r\n")).unwrap_err().to_string().contains("is not"));
    }

    #[test]
    fn nobody_there_is_an_error() {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(ask(address).unwrap_err().to_string().starts_with("nobody"));
    }

    #[test]
    fn who_listens_everywhere_is_asked_on_loopback() {
        for (listen, asked) in [
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("[::]:80", "[::1]:80"),
            ("10.1.2.3:80", "10.1.2.3:80"),
        ] {
            assert_eq!(reachable(listen.parse().unwrap()), asked.parse().unwrap());
        }
    }
}
