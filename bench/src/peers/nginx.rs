//! nginx: sendfile out, the DAV module in.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::{Context, Result};

use super::{Peer, folder, program};
use crate::ground::Ground;
use crate::server::{Routes, Server};

pub const PEER: Peer = Peer {
    name: "nginx",
    about: "2 workers, sendfile, uploads by PUT of its DAV module, no access log",
    get: "apt-get install --yes nginx-full",
    is_here: |_| program("nginx").is_some(),
    start,
};

fn start(ground: &Ground) -> Result<Server> {
    let own = ground.own("nginx")?;
    let config = own.join("nginx.conf");
    let routes = Routes { ranges: true, ..folder(Some("PUT")) };
    let program = program("nginx").context("nginx is not here")?;
    Server::start(ground, program, &own.join("log"), routes, |command, address| {
        // Where it can't be written, nginx will say so.
        let _ = fs::write(&config, text(&own, &ground.served(), address));
        command.arg("-c").arg(&config).arg("-p").arg(&own);
    })
}

fn text(own: &Path, served: &Path, address: SocketAddr) -> String {
    let [own, served] = [own, served].map(|path| path.display().to_string());
    let is_root = fs::metadata("/proc/self").is_ok_and(|data| data.uid() == 0);
    // As root its workers would be somebody else, who may not write here.
    let user = if is_root { "user root;" } else { "" };
    format!(
        "{user} worker_processes 2; daemon off; pid {own}/pid; error_log stderr warn;
        events {{ worker_connections 4096; }}
        http {{
            access_log off; sendfile on; tcp_nopush on; tcp_nodelay on;
            keepalive_requests 1000000; client_max_body_size 0;
            client_body_temp_path {own}/body; proxy_temp_path {own}/proxy;
            fastcgi_temp_path {own}/fastcgi; uwsgi_temp_path {own}/uwsgi;
            scgi_temp_path {own}/scgi;
            server {{ listen {address}; root {served}; dav_methods PUT; }}
        }}\n"
    )
}
