//! Fetches the pages of a web site in a pool, and takes the titles out of them.
//!
//! So that it works everywhere, this program is the web site, too: it serves a few pages on a free port of this machine.
//!
//! The workers of this pool wait more than they work. If that is all that yours do, `mp::Pool::threads(4)` is the same
//! pool on threads; processes pay where reading a page takes time or memory, or may crash.

use std::net::SocketAddr;
use std::sync::LazyLock;
use std::thread;
use std::time::Duration;

use tiny_http::{Response, Server};
use ureq::Agent;

/// The client of a worker. It lives as long as the worker, and uses its connections again.
static CLIENT: LazyLock<Agent> = LazyLock::new(|| {
    // The site is on this machine, where no proxy is needed.
    Agent::config_builder().proxy(None).build().into()
});

#[mp::process_fn]
fn title(url: &str) -> Result<String, mp::RemoteError> {
    let page = CLIENT.get(url).call()?.body_mut().read_to_string()?;
    let title = page
        .split_once("<title>")
        .and_then(|(_, rest)| rest.split_once("</title>"));
    match title {
        Some((title, _)) => Ok(title.to_owned()),
        None => Err(mp::RemoteError::msg("the page has no title")),
    }
}

#[mp::main]
fn main() -> mp::Result<()> {
    let site = serve().expect("this machine lets us serve a web site");
    let paths = ["/", "/news", "/missing", "/untitled", "/about"];
    let urls = paths.map(|path| format!("http://{site}{path}"));

    // A server that does not answer costs its page, not the program.
    let pool = mp::Pool::builder()
        .workers(4)
        .task_timeout(Duration::from_secs(30))
        .build()?;
    let titles = pool.imap::<title>(urls.iter().map(String::as_str));
    for (path, title) in paths.iter().zip(titles) {
        match title? {
            Ok(title) => println!("{path}: {title}"),
            Err(error) => println!("{path}: error: {error}"),
        }
    }
    Ok(())
}

/// Serves the web site from a thread, for as long as this program runs, and gives its address.
fn serve() -> Option<SocketAddr> {
    let server = Server::http("127.0.0.1:0").ok()?;
    let address = server.server_addr().to_ip()?;
    thread::spawn(move || {
        for request in server.incoming_requests() {
            let page = match request.url() {
                "/" => "<title>Welcome</title><p>Read our news.",
                "/news" => "<title>The news of today</title><p>There are none.",
                "/about" => "<title>About us</title><p>We are a thread.",
                "/untitled" => "<p>Some page.",
                _ => "",
            };
            let code = if page.is_empty() { 404 } else { 200 };
            // When the client is gone, nobody needs the answer.
            let _ = request.respond(Response::from_string(page).with_status_code(code));
        }
    });
    Some(address)
}
