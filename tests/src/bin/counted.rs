//! The service on the product's allocator, with one around it that counts: what the heap
//! holds beside what is resident for it, told on stderr every 10 ms. A test's, to measure
//! the factor from the one to the other; the product counts nothing.

use std::time::Duration;

use clap::Parser;
use meter::{Counting, exempt, resident, snapshot};
use server::{Application, Config};
use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Counting<Jemalloc> = Counting::new(Jemalloc);

#[expect(unsafe_code, reason = "jemalloc finds its configuration by the symbol's name")]
// SAFETY: no other symbol has this name, and jemalloc reads it as what it is:
// a pointer to a string that ends with a zero byte.
#[unsafe(export_name = "_rjem_malloc_conf")]
static MALLOC_CONF: &[u8; 70] = server::MALLOC_CONF;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    config: Config,
}

fn main() -> std::io::Result<()> {
    let Cli { config } = Cli::parse();
    std::thread::spawn(|| exempt(tell));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(config.worker_threads)
        .max_blocking_threads(config.blocking_threads)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let application = Application::build(config).await.map_err(std::io::Error::other)?;
        eprintln!("listening on http://{}", application.local_addr()?);
        // Until it is killed: nothing is asked of how it ends.
        application.run(std::future::pending(), std::future::pending()).await;
        Ok(())
    })
}

/// `live N resident N`, in bytes, as near to each other in time as can be; of what is
/// resident, what no file backs.
fn tell() {
    while let Ok(now) = resident(std::process::id()) {
        eprintln!("live {} resident {}", snapshot().live, now.anonymous);
        std::thread::sleep(Duration::from_millis(10));
    }
}
